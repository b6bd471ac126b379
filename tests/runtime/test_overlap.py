"""Working before the turn: the same kept texts, writers and decisions, and an exact account of what was for nothing."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, replace
from typing import Any

import marked
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learned import known
from pure_engine import QUESTION, ROUTERS, draw

from orchestrator.decisions import Decision, keep, rewrite, rollback, stop
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scorers import SCORERS
from orchestrator.engines.scorers.verifier import Verifier
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineProtocol, EngineUnavailable, UserError
from orchestrator.memory.base import StoredRun
from orchestrator.registry import names
from orchestrator.routers import ROUTERS as TABLE
from orchestrator.routers import Arbitrage, Oracle, Random, SpecReason
from orchestrator.runtime.attempts import attempts
from orchestrator.runtime.build import router_of
from orchestrator.runtime.hidden import DROPPED, dropped, hidden
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.types import Budget, Event, History, Overlap, Status, Step

PIECES = ("a", " b", "\n", "\n\n", "; ", "é", "", *"cdefghijklmnopqr", "```\n", "<tool_call>", "\\boxed{4}", "</think>")

routers = st.one_of(
    st.sampled_from([*ROUTERS.values(), Oracle(threshold=0.5)]),
    st.builds(SpecReason, threshold=st.floats(0, 10), first_n=st.integers(0, 2), step_tokens=st.integers(8, 60)),
    st.builds(Random, large_share=st.floats(0, 1)),
)
routers_by_name = sorted(names("routers", TABLE))
overlaps = st.builds(Overlap, ahead=st.integers(0, 4), hedge=st.one_of(st.none(), st.floats(0, 1)))


def engine(seed: int, name: str, family: str, slowest_ms: int) -> Scripted:
    """Return an engine that says random things after random waits, always the same to the same request."""

    def answer(request: Request) -> Reply | Exception:
        assert request.prompt is not None
        drawn = draw(seed, name, request.prompt.ids(), request.purpose, request.seed)
        latency_s = drawn // 7 % 4 * slowest_ms / 4000
        if drawn % 61 == 0:
            return EngineProtocol("not understood", engine=name)
        if request.purpose == "judge":
            said = "0123456789x"[drawn % 11]
            return Reply(text=said, top={said: -0.1, str(drawn // 11 % 10): -2.0}, latency_s=latency_s)
        pieces = [PIECES[draw(drawn, place) % len(PIECES)] for place in range(1 + drawn % 6)]
        end = f"step {drawn % 997}\n\n" if drawn % 9 else ""
        return Reply(text="".join(pieces) + end, top={"a": -(drawn % 50) / 10}, latency_s=latency_s)

    return Scripted(answer, family=family)


def check(messages: Any, kept: Any, draft: str) -> float:
    """Say how right a draft is: a verifier that looks at nothing but its text."""
    return float(draw(draft) % 2)


def kept(stored: StoredRun) -> dict[str, Any]:
    """Return what must not depend on overlap."""
    assert stored.outcome is not None
    return {
        "steps": [row[1:8] for row in stored.steps],
        "decisions": [row[1:] for row in stored.decisions],
        "signals": sorted([row[1:9] for row in stored.signals], key=str),  # one batch may be answered in any order
        "events": [row[1:4] for row in stored.events if row.kind not in (DROPPED, "resumed")],
        "outcome": (stored.outcome.status, stored.outcome.answer, stored.outcome.error, stored.outcome.reason),
    }


def used(result: RunResult) -> list[dict[str, Any]]:
    """Return the part of the ledger that stands."""
    return [row for row in result.ledger.without_seconds() if row["fate"] == "used"]


def account(result: RunResult, fate: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Return calls and output tokens of one fate, by engine and purpose."""
    return {(row[0], row[1]): (row[3].calls, row[3].output_tokens) for row in result.ledger if row[2] == fate}


@given(
    seed=st.integers(0, 2**32),
    router=routers,
    overlap=overlaps,
    steps=st.integers(1, 9),
    families=st.sampled_from([("one", "one"), ("one", "two")]),
    granularity=st.sampled_from(["steps", "fused"]),
    slowest_ms=st.sampled_from([0, 2]),
    failover=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_what_is_kept_does_not_depend_on_overlap(
    seed: int,
    router: Any,
    overlap: Overlap,
    steps: int,
    families: tuple[str, str],
    granularity: Any,
    slowest_ms: int,
    failover: bool,
) -> None:
    results = []
    for each in (Overlap(), overlap):
        engines = {
            name: engine(seed, name, family, slowest_ms)
            for name, family in zip(("small", "large"), families, strict=True)
        }
        with Pipeline(
            engines,
            router,
            scorers={"verifier": Verifier(check=check)},
            budget=Budget(tokens=1 << 30, steps=steps),
            failover=failover,
            granularity=granularity,
            overlap=each,
            db=":memory:",
        ) as made:
            result = made.run(QUESTION, run_id="it")
            stored = made.journal.run("it")
            if result.status is not Status.FAILED:  # it would try again
                again = made.run(QUESTION, run_id="it")
                assert again.ledger.without_seconds() == result.ledger.without_seconds()
                assert again.steps == result.steps
        assert all(call.result is not None for call in stored.calls)
        assert [call.intent.seq for call in stored.calls] == list(range(len(stored.calls)))
        results.append((result, stored))
    (plain, plainly), (early, earlier) = results
    assert kept(earlier) == kept(plainly)
    assert [replace(step, seconds=0.0) for step in early.steps] == [replace(step, seconds=0.0) for step in plain.steps]
    assert used(early) == used(plain)
    sent = {(*call.intent[2:7], call.intent.digest) for call in plainly.calls}
    over = dropped(earlier)
    assert all((*call.intent[2:7], call.intent.digest) in sent for call in earlier.calls if call.intent.seq not in over)


async def cancelled_at_times(made: Pipeline, waits_ms: list[int]) -> RunResult:
    """Execute a run, cancelling it after each of these waits and going on with it."""
    for wait_ms in waits_ms:
        running = asyncio.ensure_future(made.arun(QUESTION, run_id="it"))
        done, _ = await asyncio.wait([running], timeout=wait_ms / 1000)
        if done:
            return running.result()
        running.cancel()
        await asyncio.wait([running])
    return await made.arun(QUESTION, run_id="it")


@given(
    seed=st.integers(0, 2**32),
    router=routers,
    overlap=overlaps,
    share=st.sampled_from([0.0, 0.5, 1.0]),
    families=st.tuples(*[st.sampled_from("ab")] * 3),
    waits_ms=st.lists(st.integers(0, 12), max_size=6),
)
@settings(max_examples=25, deadline=None)
def test_nor_with_three_engines_counterfactuals_and_cancellations(
    seed: int, router: Any, overlap: Overlap, share: float, families: tuple[str, ...], waits_ms: list[int]
) -> None:
    results = []
    for each, waits in ((Overlap(), []), (overlap, waits_ms)):
        engines = {
            name: engine(seed, name, family, 2)
            for name, family in zip(("small", "mid", "large"), families, strict=True)
        }
        options: dict[str, Any] = {"scorers": {"verifier": Verifier(check=check)}, "counterfactuals": share}
        budget = Budget(tokens=1 << 30, steps=6)
        with Pipeline(engines, router, budget=budget, overlap=each, db=":memory:", **options) as made:
            result = asyncio.run(cancelled_at_times(made, waits))
            stored = made.journal.run("it")
            if result.status is not Status.FAILED:  # it would try again
                again = made.run(QUESTION, run_id="it")
                assert again.ledger.without_seconds() == result.ledger.without_seconds()
        assert all(call.result is not None for call in stored.calls)
        results.append((result, stored))
    (plain, plainly), (early, earlier) = results
    assert kept(earlier) == kept(plainly)
    assert used(early) == used(plain)


@pytest.mark.parametrize("name", routers_by_name)
def test_every_router_that_decides_about_drafts_keeps_the_same(name: str) -> None:
    """A router that cannot be made without options has its place in another test."""
    try:
        router = router_of(name)
    except (TypeError, UserError) as error:
        pytest.skip(f"{name} needs options: {error}")
    if not hasattr(router, "after_draft"):
        pytest.skip(f"{name} decides about no draft")
    scorers = {each: Verifier(check=check) for each in router.needs.scorers if each not in SCORERS or each == "prm"}
    for seed in range(6):
        left = []
        for overlap in (Overlap(), Overlap(ahead=2, hedge=0.3)):
            engines = {each: engine(seed, each, each, 2) for each in ("small", "large")}
            options: dict[str, Any] = {"budget": Budget(tokens=1 << 30, steps=8), "scorers": scorers}
            with Pipeline(engines, router, overlap=overlap, db=":memory:", **options) as made:
                result = made.run(QUESTION, run_id="it")
                left.append((kept(made.journal.run("it")), used(result)))
        assert left[0] == left[1]


def test_a_trained_router_keeps_the_same() -> None:
    writers = set()
    for task in marked.tasks(6):
        left = []
        for overlap in (Overlap(), Overlap(ahead=2, hedge=0.3)):
            with marked.pipeline(overlap=overlap) as made:
                trained = Arbitrage(learnt=known(pair=asyncio.run(made.pair()).to_json()))
                other = made.but(router=trained, scorers={}, seed=0, stop_on_answer=True)
                result = other.run(task, run_id="it")
                left.append((kept(made.journal.run("it")), used(result)))
                writers |= {step.writer for step in result.steps}
        assert left[0] == left[1]
    assert writers == {"small", "large"}


# ---- what is begun, and when


class Stage:
    """Two engines whose calls end when they are told to: what is under way at a time can be looked at."""

    def __init__(self, texts: list[str], verdicts: list[int | None], *, large: str = "better") -> None:
        self._texts, self._verdicts, self._better = texts, verdicts, large
        self.begun: list[str] = []
        """Every call, as purpose and step."""
        self.running: dict[str, asyncio.Future[None]] = {}
        self.small = Scripted(self._draft)
        self.large = Scripted(self._judge_or_rewrite)

    async def _draft(self, request: Request) -> str:
        step = self._step(request)
        await self._until_told("draft", step)
        return self._texts[step]

    async def _judge_or_rewrite(self, request: Request) -> str:
        step = self._step(request)
        if request.purpose == "judge":
            step = max(step - 1, 0)  # the draft is in the prompt; one without a delimiter can only be the first
            await self._until_told("judge", step)
            return str(self._verdicts[step])
        await self._until_told(request.purpose, step)
        return f"{self._better} {step}\n\n"

    def _step(self, request: Request) -> int:
        assert request.prompt is not None
        text = bytes(request.prompt.ids()).decode().partition("assistant: ")[2]
        return text.partition("\nuser:")[0].count("\n\n")

    async def _until_told(self, purpose: str, step: int) -> None:
        name = f"{purpose} {step}"
        self.begun.append(name)
        self.running[name] = asyncio.get_running_loop().create_future()
        try:
            await self.running[name]
        finally:
            del self.running[name]

    async def end(self, *names: str) -> None:
        """Let calls end in this order, and wait until nothing more happens by itself."""
        for name in names:
            await self.quiet()
            self.running[name].set_result(None)
        await self.quiet()

    async def quiet(self) -> None:
        for _ in range(60):
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)

    def pipeline(self, router: Any = None, **options: Any) -> Pipeline:
        return Pipeline({"small": self.small, "large": self.large}, router or SpecReason(), db=":memory:", **options)


TEXTS = ["zero\n\n", "one\n\n", "two\n\n", "three\n\n", "so \\boxed{4}\n\n"]


async def test_the_next_step_is_drafted_while_the_verdict_is_pending_and_no_further() -> None:
    stage = Stage(TEXTS, [9] * 5)
    async with stage.pipeline(overlap=Overlap(ahead=1)) as made:
        running = asyncio.ensure_future(made.arun(QUESTION))
        await stage.end("draft 0")
        assert sorted(stage.running) == ["draft 1", "judge 0"]
        await stage.end("draft 1")
        assert sorted(stage.running) == ["judge 0"]
        await stage.end("judge 0")
        assert sorted(stage.running) == ["draft 2", "judge 1"]
        await stage.end("judge 1", "draft 2", "judge 2", "draft 3", "draft 4", "judge 3", "judge 4")
        result = await running
        ledger, over = result.ledger, hidden(made.journal.run(result.run_id))
    assert stage.begun.count("draft 2") == 1
    assert result.text == "".join(TEXTS)
    assert {row[2] for row in ledger} == {"used"}
    assert (over.taken, over.dropped) == (4, 0)
    assert over.seconds > 0.02


async def test_deeper_the_drafts_in_between_have_their_verdicts_asked_for() -> None:
    stage = Stage(TEXTS, [9] * 5)
    async with stage.pipeline(overlap=Overlap(ahead=3)) as made:
        running = asyncio.ensure_future(made.arun(QUESTION))
        await stage.end("draft 0", "draft 1", "draft 2", "draft 3")
        assert sorted(stage.running) == ["judge 0", "judge 1", "judge 2"]
        await stage.end("judge 1", "judge 2")
        assert sorted(stage.running) == ["judge 0"]
        await stage.end("judge 0")
        assert sorted(stage.running) == ["draft 4", "judge 3"]
        await stage.end("judge 3", "draft 4", "judge 4")
        result = await running
    assert result.text == "".join(TEXTS)
    assert len(stage.begun) == 10


async def test_a_verdict_that_is_known_ahead_to_reject_ends_what_is_behind_it() -> None:
    stage = Stage(TEXTS, [9, 0, 9, 9, 9])
    async with stage.pipeline(overlap=Overlap(ahead=3)) as made:
        running = asyncio.ensure_future(made.arun(QUESTION))
        await stage.end("draft 0", "draft 1", "draft 2")
        assert sorted(stage.running) == ["draft 3", "judge 0", "judge 1", "judge 2"]
        await stage.end("judge 1")
        assert sorted(stage.running) == ["judge 0"]
        await stage.end("judge 0")
        assert sorted(stage.running) == ["rewrite 1"]
        running.cancel()
        await asyncio.wait([running])
        assert stage.running == {}


@pytest.mark.parametrize(("wait_s", "fate", "tokens"), [(0.02, "discarded", 10), (0.1, "interrupted", 5)])
def test_dropped_work_is_accounted_for_to_the_token(wait_s: float, fate: str, tokens: int) -> None:
    def said(request: Request) -> Reply:
        assert request.prompt is not None
        text = bytes(request.prompt.ids()).decode()
        if request.purpose == "judge":
            return Reply(text="0", latency_s=0.08)
        if request.purpose == "rewrite":
            return Reply(text="\\boxed{4}")
        is_first = text.endswith("assistant: ")
        return Reply(text="first\n\n", latency_s=0.001) if is_first else Reply(text="12345678\n\n", latency_s=wait_s)

    with Pipeline({"small": Scripted(said), "large": Scripted(said)}, overlap=Overlap(ahead=1), db=":memory:") as made:
        result = made.run(QUESTION, run_id="it")
        stored = made.journal.run("it")
        again = made.run(QUESTION, run_id="it")
    assert result.text == "\\boxed{4}"
    rejected = {"discarded": (1, 7)}
    calls, sums = rejected.get(fate, (0, 0))
    assert account(result, fate)["small", "draft"] == (calls + 1, sums + tokens)
    assert again.ledger.without_seconds() == result.ledger.without_seconds()
    [number] = dropped(stored)
    assert stored.calls[number].intent.step == 1
    [behind] = [each for each in attempts(stored) if each.verdict == DROPPED]
    assert (behind.step, behind.output_tokens) == (1, tokens)
    assert behind.reason == "behind a draft that did not stand: rewrite"


@dataclass(frozen=True, kw_only=True)
class Sure(SpecReason):
    """SpecReason that says how sure it is beforehand."""

    chance: float = 1.0

    def prior(self, history: History, draft: Step) -> float:
        return self.chance


@pytest.mark.parametrize("verdict", [0, 9])
async def test_a_rewrite_that_is_likely_begins_with_the_verdict(verdict: int) -> None:
    stage = Stage(TEXTS, [verdict, 9, 9, 9, 9], large="so \\boxed{5} better")
    async with stage.pipeline(Sure(chance=0.7), overlap=Overlap(hedge=0.7)) as made:
        running = asyncio.ensure_future(made.arun(QUESTION, run_id="it"))
        await stage.end("draft 0")
        assert sorted(stage.running) == ["judge 0", "rewrite 0"]
        await stage.end("judge 0")
        assert sorted(stage.running) == (["draft 1"] if verdict else ["rewrite 0"])
        if not verdict:
            await stage.end("rewrite 0")
            result = await running
            assert result.text == "so \\boxed{5} better 0\n\n"
            assert stage.begun.count("rewrite 0") == 1
            assert [(row[1], row[2]) for row in result.ledger] == [
                ("draft", "discarded"),
                ("judge", "used"),
                ("rewrite", "used"),
            ]
        running.cancel()
        await asyncio.wait([running])


async def test_a_chance_below_the_hedge_begins_no_rewrite() -> None:
    stage = Stage(TEXTS, [9] * 5)
    async with stage.pipeline(Sure(chance=0.69), overlap=Overlap(hedge=0.7)) as made:
        running = asyncio.ensure_future(made.arun(QUESTION))
        await stage.end("draft 0")
        assert sorted(stage.running) == ["judge 0"]
        running.cancel()
        await asyncio.wait([running])


async def test_without_a_prior_the_share_of_rejections_says_it_from_the_fifth_verdict_on() -> None:
    stage = Stage([f"{step}\n\n" for step in range(9)], [9, 0, 0, 9, 9, 9, 9, 9, 9])
    async with stage.pipeline(overlap=Overlap(hedge=0.5)) as made:
        running = asyncio.ensure_future(made.arun(QUESTION))
        for step in range(4):
            await stage.end(f"draft {step}")
            assert sorted(stage.running) == [f"judge {step}"]
            await stage.end(f"judge {step}", *([f"rewrite {step}"] if step in (1, 2) else []))
        await stage.end("draft 4")
        assert sorted(stage.running) == ["judge 4", "rewrite 4"]  # 2 of 4
        await stage.end("judge 4", "draft 5")
        assert sorted(stage.running) == ["judge 5"]  # 2 of 5
        running.cancel()
        await asyncio.wait([running])


@pytest.mark.parametrize("chance", [-0.1, 1.1, float("nan")])
def test_a_prior_that_is_no_chance_is_told_so(chance: float) -> None:
    engines = {"small": Scripted(["a\n\n"]), "large": Scripted(["9"])}
    made = Pipeline(engines, Sure(chance=chance), overlap=Overlap(hedge=0.5), db=":memory:")
    with made, pytest.raises(UserError, match="its prior is"):
        made.run(QUESTION)


# ---- where nothing may be begun


class Plans(SpecReason):
    """Ends the run before the second step."""

    def before_step(self, history: History) -> Any:
        return stop(reason="enough") if history.steps else super().before_step(history)


class Ends:
    """Ends the run after the first step."""

    def watch(self, history: History) -> Event | None:
        return Event("done", "it is", ends_run=True)


@pytest.mark.parametrize(
    ("text", "router", "options"),
    [
        ("so \\boxed{4}\n\n", None, {}),
        ("the end", None, {}),
        ("so</think>\n\n", None, {}),
        ("on\n\n", Plans(), {}),
        ("on\n\n", None, {"monitors": [Ends()]}),
        ("on\n\n", None, {"budget": Budget(steps=1)}),
        ("on\n\n", None, {"budget": Budget(tokens=300)}),
    ],
    ids=["answer", "end of text", "closed thought", "planned stop", "monitor", "steps", "tokens"],
)
async def test_nothing_is_drafted_behind_what_ends_the_run_or_beyond_the_budget(
    text: str, router: Any, options: dict[str, Any]
) -> None:
    stage = Stage([text, *TEXTS], [9] * 5)
    async with stage.pipeline(router, overlap=Overlap(ahead=2), **options) as made:
        running = asyncio.ensure_future(made.arun(QUESTION))
        await stage.end("draft 0")
        assert sorted(stage.running) == ["judge 0"]
        running.cancel()
        await asyncio.wait([running])


async def test_what_is_kept_without_a_verdict_has_nothing_begun_behind_it() -> None:
    stage = Stage(TEXTS, [9] * 5)
    async with stage.pipeline("small", overlap=Overlap(ahead=3, hedge=0.0)) as made:
        running = asyncio.ensure_future(made.arun(QUESTION))
        await stage.end("draft 0")
        assert sorted(stage.running) == ["draft 1"]
        running.cancel()
        await asyncio.wait([running])


@dataclass(frozen=True, kw_only=True)
class GoesBackOnce:
    """Ask for a score and an alternative at every draft, and go back at one of them."""

    needs = Needs(engines=2, scorers=("judge",))

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        rating = await ask.score("judge", draft)
        await ask.alternative(history.large, draft)
        return rollback(1) if (draft.index, draft.attempt) == (1, 0) else keep(rating)


@pytest.mark.parametrize("overlap", [Overlap(), Overlap(ahead=1), Overlap(hedge=1.0)], ids=str)
def test_a_score_that_was_stored_before_a_cancellation_counts_though_the_run_goes_back(overlap: Overlap) -> None:
    def said(request: Request) -> Reply:
        assert request.prompt is not None
        if request.purpose == "judge":
            return Reply(text="9")
        if request.purpose == "alternative":
            return Reply(text="beside\n\n", latency_s=0.05)
        number = bytes(request.prompt.ids()).decode().count("step")
        return Reply(text=f"step {number}\n\n" if number < 3 else "\\boxed{4}")

    async def cut_off(made: Pipeline) -> None:
        running = asyncio.ensure_future(made.arun(QUESTION, run_id="it"))
        is_there = False
        while not is_there:
            await asyncio.sleep(0.002)
            made.journal.commit()
            stored = made.journal.stored("it")
            is_there = stored is not None and any(row.step == 1 for row in stored.signals)
        running.cancel()
        await asyncio.wait([running])

    engines = {"small": Scripted(said), "large": Scripted(said)}
    with Pipeline(engines, GoesBackOnce(), overlap=overlap, db=":memory:") as made:
        asyncio.run(cut_off(made))
        result = made.run(QUESTION, run_id="it")
        again = made.run(QUESTION, run_id="it")
        stored = made.journal.run("it")
    assert result.answer == "4"
    assert ("large", "judge") not in account(result, "discarded")
    assert account(result, "used")["large", "judge"][0] == len(stored.signals)
    assert all(stored.calls[number].intent.purpose != "judge" for number in dropped(stored))
    assert again.ledger.without_seconds() == result.ledger.without_seconds()


# ---- limits and failures


def test_a_call_in_its_turn_gets_what_work_ahead_had_reserved() -> None:
    """516 tokens are enough for one draft of 512 at a time: the rewrite must not be cut for the sake of another."""

    def said(request: Request) -> Reply:
        if request.purpose == "judge":
            return Reply(text="0", latency_s=0.02)
        return Reply(text="x" * 100 + "\\boxed{4}" if request.purpose == "rewrite" else "ab\n\n", latency_s=0.03)

    results = []
    for overlap in (Overlap(), Overlap(ahead=1)):
        engines = {"small": Scripted(said), "large": Scripted(said)}
        with Pipeline(engines, budget=Budget(tokens=700), overlap=overlap, db=":memory:") as made:
            results.append(made.run(QUESTION))
    plain, early = results
    assert early.text == plain.text == "x" * 100 + "\\boxed{4}"
    assert [row[2] for row in early.ledger if row[2] == "interrupted"] == ["interrupted"]


@given(tokens=st.integers(1, 1500), seed=st.integers(0, 2**32), overlap=overlaps)
@settings(max_examples=40, deadline=None)
def test_a_budget_is_never_passed_and_what_is_kept_is_the_beginning(tokens: int, seed: int, overlap: Overlap) -> None:
    texts = []
    for each in (Overlap(), overlap):
        engines = {name: engine(seed, name, "one", 2) for name in ("small", "large")}
        router = SpecReason(step_tokens=60, threshold=5)
        with Pipeline(engines, router, budget=Budget(tokens=tokens), overlap=each, db=":memory:") as made:
            result = made.run(QUESTION)
        assert result.ledger.total().output_tokens <= tokens
        texts.append(result.text)
    plain, early = texts
    whole = early.rpartition("\n\n")[0]  # the last step may be cut by the limit
    assert plain.startswith(whole) or early.startswith(plain)


@pytest.mark.parametrize(
    "error", [EngineUnavailable("busy", engine="small"), EngineProtocol("nonsense", engine="small")]
)
def test_a_failure_ahead_is_not_the_runs(error: Exception) -> None:
    """The engine fails at its second call, which is one ahead, and at none after that."""

    def pipeline(overlap: Overlap, failing: int) -> Pipeline:
        calls = iter(range(100))

        def draft(request: Request) -> Any:
            return error if next(calls) == failing else TEXTS[draft_of(request)]

        engines = {"small": Scripted(draft), "large": Scripted(lambda request: Reply(text="9", latency_s=0.01))}
        return Pipeline(engines, overlap=overlap, failover=False, retries=RetryPolicy(attempts=1), db=":memory:")

    def draft_of(request: Request) -> int:
        assert request.prompt is not None
        return bytes(request.prompt.ids()).decode().count("\n\n")

    with pipeline(Overlap(ahead=2), failing=1) as made:
        result = made.run(QUESTION, run_id="it")
        again = made.run(QUESTION, run_id="it")
    assert (result.status, result.text, result.error) == (Status.COMPLETED, "".join(TEXTS), None)
    assert account(result, "failed") == {("small", "draft"): (1, 0)}
    assert again.ledger.without_seconds() == result.ledger.without_seconds()


def test_a_router_that_fails_about_a_history_that_never_comes_to_be_does_not_end_the_run() -> None:
    class Picky(SpecReason):
        def before_step(self, history: History) -> Any:
            if history.steps and history.steps[-1].text == "never\n\n":
                raise RuntimeError("what is this?")
            return super().before_step(history)

    def said(request: Request) -> Reply:
        if request.purpose == "judge":
            return Reply(text="0", latency_s=0.01)
        return Reply(text="\\boxed{4}" if request.purpose == "rewrite" else "never\n\n")

    engines = {"small": Scripted(said), "large": Scripted(said)}
    with Pipeline(engines, Picky(), overlap=Overlap(ahead=1), db=":memory:") as made:
        assert made.run(QUESTION).answer == "4"


# ---- nothing is left behind


async def test_a_cancelled_run_leaves_no_task_and_goes_on_with_what_it_had(recwarn: Any) -> None:
    stage = Stage(TEXTS, [9] * 5)
    async with stage.pipeline(overlap=Overlap(ahead=2, hedge=0.0)) as made:
        running = asyncio.ensure_future(made.arun(QUESTION, run_id="it"))
        await stage.end("draft 0", "draft 1")
        assert sorted(stage.running) == ["draft 2", "judge 0", "judge 1"]
        running.cancel()
        await asyncio.wait([running])
        assert stage.running == {}
        assert asyncio.all_tasks() == {asyncio.current_task()}
        statuses = [call.result and call.result.status for call in made.journal.run("it").calls]
        assert sorted(map(str, statuses)) == ["aborted", "aborted", "aborted", "done", "done"]
        running = asyncio.ensure_future(made.arun(QUESTION, run_id="it"))
        await stage.quiet()
        assert stage.begun.count("draft 1") == 1  # it was written before
        await stage.end("judge 0", "judge 1", "draft 2", "judge 2", "draft 3", "judge 3", "draft 4", "judge 4")
        result = await running
    assert result.text == "".join(TEXTS)
    assert account(result, "interrupted")["small", "draft"][0] == 1
    gc.collect()
    assert not [str(each.message) for each in recwarn]


async def test_a_stream_that_nobody_listens_to_any_more_leaves_no_task() -> None:
    stage = Stage(TEXTS, [9] * 5)
    async with stage.pipeline(overlap=Overlap(ahead=2)) as made:
        told = made.stream(QUESTION)
        first = asyncio.ensure_future(anext(told))
        await stage.end("draft 0", "draft 1", "judge 0")
        await first
        await told.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_time_that_is_up_ends_what_was_begun() -> None:
    stage = Stage(TEXTS, [9] * 5)
    async with stage.pipeline(overlap=Overlap(ahead=2), budget=Budget(seconds=0.5)) as made:
        running = asyncio.ensure_future(made.arun(QUESTION))
        await stage.end("draft 0")
        result = await running
        assert (result.status, stage.running) == (Status.BUDGET, {})
        assert account(result, "interrupted").keys() == {("small", "draft"), ("large", "judge")}
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_person_is_asked_only_about_what_has_come_to_be() -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import Command, interrupt

    import orchestrator as orc

    class Asks:
        needs = Needs(engines=2)

        async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
            rating = await ask.score("judge", draft)
            said = interrupt(draft.text)
            return keep(rating, reason=str(said)) if said == "yes" else rewrite("large", rating)

    def said(request: Request) -> Reply:
        if request.purpose == "judge":
            return Reply(text="9", latency_s=0.02)
        assert request.prompt is not None
        return Reply(text=TEXTS[bytes(request.prompt.ids()).decode().count("\n\n")], latency_s=0.005)

    engines = {"small": Scripted(said), "large": Scripted(said)}
    async with Pipeline(engines, Asks(), overlap=Overlap(ahead=2), db=":memory:") as made:
        graph = StateGraph(dict)
        graph.add_node("solve", orc.reasoning_node(made, input="question", output="answer"))
        graph.add_edge(START, "solve")
        graph.add_edge("solve", END)
        compiled = graph.compile(checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "1"}}
        state = await compiled.ainvoke({"question": QUESTION}, config)
        asked = []
        while state.get("__interrupt__"):
            asked.append(state["__interrupt__"][0].value)
            state = await compiled.ainvoke(Command(resume="yes"), config)
        assert asked == TEXTS
        assert state["answer"] == "4"
        assert asyncio.all_tasks() == {asyncio.current_task()}


# ---- being asked for


def test_overlap_is_part_of_what_a_resume_compares_and_absent_where_it_is_off() -> None:
    engines = {"small": Scripted([]), "large": Scripted([])}
    assert "overlap" not in Pipeline(engines, db=":memory:").settings
    assert '"ahead": 2' in Pipeline(engines, overlap=Overlap(ahead=2), db=":memory:").settings


@pytest.mark.parametrize(
    "options", [{"ahead": -1}, {"ahead": 65}, {"ahead": True}, {"hedge": -0.1}, {"hedge": 1.5}, {"hedge": float("nan")}]
)
def test_an_overlap_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="overlap"):
        Overlap(**options)


def test_the_timeline_shows_what_was_dropped_and_what_was_hidden() -> None:
    from orchestrator.runtime.timeline import timeline

    def said(request: Request) -> Reply:
        if request.purpose == "judge":
            return Reply(text="0", latency_s=0.02)
        return Reply(text="\\boxed{4}" if request.purpose == "rewrite" else "ab\n\n", latency_s=0.004)

    with Pipeline({"small": Scripted(said), "large": Scripted(said)}, overlap=Overlap(ahead=1), db=":memory:") as made:
        made.run(QUESTION, run_id="it")
        shown = timeline(made.journal.run("it"), width=120).plain
    assert "x dropped" in shown
    assert "overlap: 0 texts begun early, 1 call dropped, 0.00 s hidden" in shown
