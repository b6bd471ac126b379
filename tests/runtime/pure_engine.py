"""Pipelines whose engines are pure functions of the request, and what may be compared between two runs of them.

Whatever a process death does to a run, these engines say the same thing when they are asked the
same thing again, so that an interrupted run can be held against an uninterrupted one, row by row.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from orchestrator.decisions import Decision, Plan, handoff, keep, rewrite, rollback
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineProtocol, StoreError
from orchestrator.memory.base import REMOVED, CallRow, StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.routers import Random, SmallOnly, SpecReason
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget, History, Step

QUESTION = "How many positive divisors does 2024 have?"
NUM_STEPS = 8
"""Steps after which the engines close their reasoning."""


def draw(*parts: Any) -> int:
    """Return a number in [0, 2**32) that depends on nothing but `parts`."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=4).digest())


def nothing() -> None:
    """Do nothing at a boundary."""


def pure(
    name: str, *, hesitates: bool = False, boundary: Callable[[], None] = nothing
) -> Callable[[Request], Reply | Exception]:
    """Return a script for engine `name`; with `hesitates` it fails at some of the requests.

    `boundary` is called when a request has arrived and again when it is about to be answered.
    """

    def script(request: Request) -> Reply | Exception:
        boundary()
        said = answer(request)
        boundary()
        return said

    def answer(request: Request) -> Reply | Exception:
        assert request.prompt is not None
        prompt = bytes(request.prompt.ids()).decode("utf-8", "replace")
        drawn = draw(name, prompt, request.seed, request.purpose)
        if request.purpose == "judge":
            top = {str(drawn % 10): -0.25, str(drawn // 10 % 10): -1.5}
            return Reply(text=str(drawn % 10), top=top)
        if request.purpose == "probe":
            return Reply(text=f"{drawn % 3}}}, surely")
        if hesitates and request.purpose == "draft" and drawn % 5 == 0:
            return EngineProtocol("this request is one it never understands", engine=name)
        return Reply(text=_thought(prompt.partition("assistant: ")[2], drawn), top={"s": -(drawn % 97) / 10})

    return script


def _thought(written: str, drawn: int) -> str:
    if written.count("```") % 2:
        return f"y = {drawn}\n```\n\n"
    if "</think>" in written:
        return f"The answer is \\boxed{{{drawn % 100}}}."
    if written.count("step") >= NUM_STEPS:
        return "done</think>\n\n" if drawn % 2 else f"done: \\boxed{{{drawn % 100}}}\n\n"
    if drawn % 7 == 0:
        return f"step {drawn:x} in code\n```\nx = 1\n\n"
    if drawn % 7 == 1 and not written.endswith("\n\n\n"):
        return f"\n\nstep {drawn:x} after a blank"
    return f"step {drawn:x} é\n\n"


@dataclass(frozen=True, kw_only=True)
class Retreats:
    """Throw away the last two steps at some drafts, once per step, and rewrite at others."""

    needs = Needs(engines=2)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        drawn = draw(draft.text)
        if draft.index >= 2 and draft.attempt == 0 and drawn % 3 == 0:
            return rollback(draft.index - 2)
        rating = await ask.score("judge", draft)
        return rewrite(history.large, rating) if drawn % 3 == 1 else keep(rating)


@dataclass(frozen=True, kw_only=True)
class HandsOver:
    """Let the large engine write this step and the next at some drafts, judged by two scorers at once."""

    needs = Needs(engines=2, scorers=("judge",))

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        [rating] = await ask.score("judge-average", [draft])
        if draft.index == NUM_STEPS - 1:
            return handoff(history.large, rating)
        return handoff(history.large, rating, until=draft.index + 2) if draw(draft.text) % 3 == 0 else keep(rating)


@dataclass(frozen=True, kw_only=True)
class ReadsLogprobs:
    """Rewrite a draft that is less likely than the kept step before it."""

    needs = Needs(engines=2, logprobs=3)

    def before_step(self, history: History) -> Plan:
        return Plan(engine=history.small, logprobs=3, reason="its likelihood is read")

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        before = next((step for step in reversed(history.steps) if step.logprobs), None)
        if before is None or not draft.logprobs:
            return keep(reason="nothing to compare with")
        assert before.logprobs is not None
        margin = draft.logprobs[0].logprob - before.logprobs[0].logprob
        return keep(margin=margin) if margin >= 0 else rewrite(history.large, margin=margin)


@dataclass(frozen=True, kw_only=True)
class Compares:
    """Take the better of the draft and what the other engine writes beside it; sometimes look at more, or go back."""

    needs = Needs(engines=2, scorers=("judge",))

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        drawn = draw(draft.text)
        if drawn % 4 == 0:
            return keep(reason="not looked at any closer")
        beside = [await ask.alternative(history.large, draft)]
        if drawn % 4 == 1:
            beside.append(await ask.alternative(history.small, draft, sample=1))
            await ask.answers(history.small, draft, num=3)
        mine, *others = await ask.score("judge", [draft, *beside])
        if draft.index >= 2 and draft.attempt == 0 and drawn % 5 == 0:
            return rollback(draft.index - 1)
        assert mine.value is not None and others[0].value is not None
        return rewrite(history.large, mine) if others[0].value > mine.value else keep(mine)


@dataclass(frozen=True, kw_only=True)
class AsksTwice:
    """Ask for a score and for what the other engine writes, and only then go back at some drafts."""

    needs = Needs(engines=2, scorers=("judge",))

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        rating = await ask.score("judge", draft)
        await ask.alternative(history.large, draft)
        if draft.index >= 1 and draft.attempt == 0 and draw(draft.text) % 3 == 0:
            return rollback(draft.index - 1)
        return keep(rating)


@dataclass(frozen=True, kw_only=True)
class Leads:
    """Start every other step in words of its own, and reject some."""

    needs = Needs(engines=2)

    def before_step(self, history: History) -> Plan:
        return Plan(engine=history.small, lead="Wait, " if len(history.steps) % 2 else "")

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        if draw(draft.text) % 3 == 0:
            return rewrite(history.large)
        if draw(draft.text) % 3 == 1:
            await ask.alternative(history.large, draft)
        return keep()


ROUTERS: dict[str, Any] = {
    "specreason": SpecReason(threshold=5),
    "average": SpecReason(threshold=4.5, reading="average", first_n=1),
    "random": Random(large_share=0.4),
    "retreats": Retreats(),
    "hands_over": HandsOver(),
    "logprobs": ReadsLogprobs(),
    "fails_over": SmallOnly(),
    "compares": Compares(),
    "asks_twice": AsksTwice(),
    "leads": Leads(),
}


SHORT = SpecReason(threshold=5, total_tokens=45)
"""Ends with status `budget` after a few steps."""


def pipeline(
    router: str,
    db: str | os.PathLike[str],
    *,
    latency_s: float = 0.0,
    boundary: Callable[[], None] = nothing,
    **options: Any,
) -> Pipeline:
    """Return a pipeline of two pure engines with different tokenizers."""
    hesitates = router == "fails_over"
    small = Scripted(pure("small", hesitates=hesitates, boundary=boundary), family="a", latency_s=latency_s)
    large = Scripted(pure("large", boundary=boundary), family="b", latency_s=latency_s)
    return Pipeline(
        {"small": small, "large": large},
        ROUTERS.get(router, SHORT),
        db=db,
        **{"budget": Budget(tokens=100_000), **options},
    )


def num_requests(made: Pipeline) -> int:
    """Return how often the engines of a pipeline were asked."""
    return sum(len(engine.requests) for engine in made.engines.values() if isinstance(engine, Scripted))


def stored(db: str | os.PathLike[str], run_id: str) -> StoredRun | None:
    """Return a run as the journal has it, None if it never got there."""
    try:
        with Store(db, readonly=True) as store:
            return Journal(store).run(run_id)
    except (LookupError, StoreError):
        return None


def content(run: StoredRun) -> dict[str, Any]:
    """Return everything the journal says of a run that has no time, no number and no id in it.

    Interrupted calls, the rows that a resume adds by design, are left out.
    """
    outcome = run.outcome
    assert outcome is not None
    return {
        "steps": [row[1:8] for row in run.steps],
        "standing": [(row.step, row.attempt) for row in run.kept()],
        "decisions": [row[1:] for row in run.decisions],
        "signals": [row[1:9] for row in run.signals],
        "events": [row[1:4] for row in run.events if row.kind != "resumed"],
        "calls": [_call(call) for call in run.calls if not _is_interrupted(call)],
        "outcome": (outcome.status, outcome.answer, outcome.error, outcome.reason),
        "ledger": [row for row in ledger_rows(run) if row["fate"] != "interrupted"],
    }


def _call(call: CallRow) -> tuple[Any, ...]:
    intent, result = call
    assert result is not None
    return (*intent[2:8], *intent[8:10], *result[2:11], result.error, result.logprobs)


def _is_interrupted(call: CallRow) -> bool:
    return call.result is not None and call.result.status == "interrupted"


def interrupted(run: StoredRun) -> list[CallRow]:
    """Return the calls that a death of their process cut off."""
    return [call for call in run.calls if _is_interrupted(call)]


def ledger_rows(run: StoredRun) -> list[dict[str, Any]]:
    """Return the ledger a run ended with, without times."""
    assert run.outcome is not None
    return [{key: value for key, value in row.items() if key != "seconds"} for row in json.loads(run.outcome.ledger)]


def doubled(run: StoredRun) -> list[tuple[int, int]]:
    """Return the steps that were kept twice, by index and attempt."""
    kept = [(row.step, row.attempt) for row in run.steps if row.kind != REMOVED]
    return [place for place in set(kept) if kept.count(place) > 1]
