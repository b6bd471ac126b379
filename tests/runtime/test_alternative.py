"""What another engine writes beside a draft: its own place, its own account, and kept as it is when it is taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.decisions import Decision, Plan, keep, rewrite
from orchestrator.doors import Ask
from orchestrator.engines.base import Request
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineProtocol, EngineUnavailable, UnknownName, UserError
from orchestrator.runtime.attempts import attempts
from orchestrator.runtime.marks import BAND
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.timeline import timeline
from orchestrator.types import Budget, History, Status, Step

Door = Callable[[History, Step, Ask], Awaitable[Decision]]


class Policy:
    """Plans small drafts and does with them what a function says."""

    def __init__(self, after_draft: Door, plan: Plan = Plan(engine="small")) -> None:  # noqa: B008 - immutable
        self.after_draft = after_draft
        self.before_step = lambda history: plan


def drawn(request: Request) -> str:
    """Answer by the seed, so that equal draws are equal texts."""
    return "7" if request.purpose == "judge" else f"{request.seed}\n\n"


def line(door: Door, small: Any = drawn, large: Any = drawn, **options: Any) -> Pipeline:
    plan = options.pop("plan", Plan(engine="small"))
    engines = {"small": Scripted(small), "large": Scripted(large)}
    options = {"db": ":memory:", "budget": Budget(steps=1), "retries": RetryPolicy(1), **options}
    return Pipeline(engines, Policy(door, plan), **options)


def purposes(made: Pipeline, engine: str) -> list[str]:
    scripted = made.engines[engine]
    assert isinstance(scripted, Scripted)
    return [request.purpose for request in scripted.requests]


def account(result: Any) -> dict[tuple[str, str, str], int]:
    return {(engine, purpose, str(fate)): entry.calls for engine, purpose, fate, entry in result.ledger}


async def takes(history: History, draft: Step, ask: Ask) -> Decision:
    await ask.alternative("large", draft)
    return rewrite("large")


async def leaves(history: History, draft: Step, ask: Ask) -> Decision:
    await ask.alternative("large", draft)
    return keep()


async def test_a_rewrite_takes_the_alternative_as_it_is_without_another_call() -> None:
    with line(takes) as made:
        result = await made.arun("q")
    assert purposes(made, "large") == ["alternative"]
    [step] = result.steps
    assert (step.writer, step.attempt) == ("large", 2 * BAND)
    assert account(result) == {("small", "draft", "discarded"): 1, ("large", "alternative", "used"): 1}


async def test_sample_0_is_what_a_plain_rewrite_would_be_and_another_sample_is_not() -> None:
    samples: list[Step] = []

    async def rewrites(history: History, draft: Step, ask: Ask) -> Decision:
        return rewrite("large")

    async def draws(history: History, draft: Step, ask: Ask) -> Decision:
        samples.extend([await ask.alternative("large", draft, sample=number) for number in (0, 1, 2)])
        return keep()

    with line(rewrites) as plain, line(draws) as beside:
        [step] = (await plain.arun("q")).steps
        await beside.arun("q")
    assert samples[0].text == step.text
    assert len({each.text for each in samples}) == len({each.attempt for each in samples}) == 3


async def test_what_is_not_taken_is_discarded_and_shown_with_its_score() -> None:
    async def scores(history: History, draft: Step, ask: Ask) -> Decision:
        beside = await ask.alternative("large", draft)
        return keep(*await ask.score("judge", [draft, beside]))

    with line(scores) as made:
        result = await made.arun("q")
        stored = made.journal.run(result.run_id)
    assert account(result)["large", "alternative", "discarded"] == 1
    told = [(each.writer, each.verdict, len(each.signals)) for each in attempts(stored)]
    assert told == [("small", "kept", 1), ("large", "not taken", 1)]
    assert "x not taken    7.0" in timeline(stored).plain


async def test_it_has_the_drafts_limit_and_logprobs_and_a_rewrite_of_another_length_is_written_anew() -> None:
    async def shorter(history: History, draft: Step, ask: Ask) -> Decision:
        await ask.alternative("large", draft)
        return rewrite("large", max_tokens=5)

    with line(shorter, plan=Plan(engine="small", max_tokens=9, logprobs=2)) as made:
        [step] = (await made.arun("q")).steps
        large = made.engines["large"]
        assert isinstance(large, Scripted)
        asked = [(each.purpose, each.max_tokens, each.logprobs) for each in large.requests]
    assert asked == [("alternative", 9, 2), ("rewrite", 5, 0)]
    assert step.attempt == 1


async def test_the_same_alternative_is_written_once_and_another_engines_rewrite_takes_none() -> None:
    async def twice(history: History, draft: Step, ask: Ask) -> Decision:
        first = await ask.alternative("large", draft)
        assert await ask.alternative("large", first) is first is await ask.alternative("large", draft)
        return rewrite("small")

    with line(twice) as made:
        [step] = (await made.arun("q")).steps
    assert (purposes(made, "large"), purposes(made, "small")) == (["alternative"], ["draft", "rewrite"])
    assert (step.writer, step.attempt) == ("small", 1)


async def test_an_alternative_goes_on_inside_a_fence_like_any_step() -> None:
    with line(takes, large=["```\nx = 1\n\n", "y = 2\n```\n\n"]) as made:
        result = await made.arun("q")
    assert result.text == "```\nx = 1\n\ny = 2\n```\n\n"
    assert account(result)["large", "alternative", "used"] == 2


async def test_an_engine_that_fails_rejects_the_draft_on_record_and_another_takes_over() -> None:
    broken = EngineUnavailable("gone", engine="large")
    with line(takes, large=[broken, broken]) as made:
        result = await made.arun("q")
        decisions = made.journal.run(result.run_id).decisions
    assert [(row.door, row.action, row.engine) for row in decisions] == [
        ("after_draft", "rewrite", "large"),
        ("runtime", "handoff", "small"),
    ]
    assert decisions[0].reason == "gone: rejected"
    assert [(step.writer, step.attempt) for step in result.steps] == [("small", 2)]
    assert result.status is Status.BUDGET


async def test_a_router_may_do_without_the_alternative_it_cannot_have() -> None:
    async def forgives(history: History, draft: Step, ask: Ask) -> Decision:
        for _ in range(2):
            with pytest.raises(EngineProtocol, match="not understood"):
                await ask.alternative("large", draft)
        return keep(reason="alone")

    with line(forgives, large=[EngineProtocol("not understood", engine="large")]) as made:
        result = await made.arun("q")
        [_, failed] = attempts(made.journal.run(result.run_id))
    assert account(result) == {("small", "draft", "used"): 1, ("large", "alternative", "failed"): 1}
    assert (failed.verdict, failed.reason) == ("failed", "not understood")


async def test_the_budget_holds_for_alternatives() -> None:
    with line(leaves, budget=Budget(tokens=14)) as made:
        result = await made.arun("q")
    assert result.status is Status.BUDGET
    assert result.ledger.total().output_tokens <= 14


@pytest.mark.parametrize(
    ("engine", "sample", "error", "told"),
    [("huge", 0, UnknownName, "'huge' for an alternative; the pipeline has small, large"),
     ("large", -1, UserError, "samples count from 0")],
)  # fmt: skip
async def test_what_cannot_be_asked_is_told(engine: str, sample: int, error: type[Exception], told: str) -> None:
    async def asks(history: History, draft: Step, ask: Ask) -> Decision:
        await ask.alternative(engine, draft, sample=sample)
        return keep()

    with line(asks) as made, pytest.raises(error, match=told):
        await made.arun("q")


@pytest.mark.parametrize("door", [takes, leaves])
async def test_after_a_resume_no_alternative_is_written_again(tmp_path: Path, door: Door) -> None:
    """The router dies after it got its alternative, then lives."""
    dies = True

    async def mortal(history: History, draft: Step, ask: Ask) -> Decision:
        decision = await door(history, draft, ask)
        if dies:
            raise RuntimeError("the end")
        return decision

    db = tmp_path / "journal.db"
    with line(mortal, db=db) as made, pytest.raises(RuntimeError):
        await made.arun("q", run_id="it")
    dies = False
    with line(mortal, db=db) as made:
        result = await made.arun("q", run_id="it")
        assert (purposes(made, "small"), purposes(made, "large")) == ([], [])
    with line(door) as made:
        whole = await made.arun("q")
    assert result.ledger.without_seconds() == whole.ledger.without_seconds()
    assert [(step.attempt, step.text, step.ids) for step in result.steps] == [
        (step.attempt, step.text, step.ids) for step in whole.steps
    ]
