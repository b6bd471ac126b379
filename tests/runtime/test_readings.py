"""What scorers answer: what is no reading is said to be none, what is always the same is told, and no call is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from json import loads
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

import orchestrator as orc
from orchestrator.decisions import Decision, keep
from orchestrator.doors import Ask, Needs
from orchestrator.engines.base import Request
from orchestrator.engines.scorers.base import Call
from orchestrator.engines.scorers.judge import GREEDY
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable
from orchestrator.routers.collect import Collect
from orchestrator.runtime.decisions import CONSTANT
from orchestrator.runtime.readings import SAME, Readings
from orchestrator.types import History, Signal, Step


@dataclass(frozen=True)
class Answers:
    """A scorer that answers what a function says."""

    of: Callable[[Step], float]
    raw: float | None = None
    engine: str | None = None
    logprobs: int = 0

    async def score(self, engine: str, stream: StepStream, draft: Step, call: Call) -> Signal:
        value = self.of(draft)
        return Signal(name="theirs", value=value, raw=9 * value if self.raw is None else self.raw, output_tokens=3)


def engines(num_steps: int = 1) -> dict[str, Scripted]:
    texts = [*(f"step {each}\n\n" for each in range(num_steps)), "Answer: 1"]
    return {"small": Scripted(texts), "large": Scripted(["the large one's\n\n"] * num_steps + ["Answer: 1"])}


ROUTERS = [
    pytest.param(orc.routers.Oracle(scorer="prm"), "prm", id="oracle"),
    pytest.param(Collect(scorer="prm", logprobs=0), "prm", id="collect"),
    pytest.param(orc.routers.RSD(), "prm", id="rsd"),
    pytest.param(orc.routers.Hybrid(keep="prm > 0.5"), "prm", id="hybrid"),
    pytest.param(orc.routers.SpecReason(), "judge", id="specreason"),
]


@pytest.mark.parametrize("value", [nan, inf, -inf, 1.5, -0.1])
@pytest.mark.parametrize(("router", "name"), ROUTERS)
async def test_what_is_no_score_is_recorded_as_none_and_nothing_is_decided_by_it(
    router: Any, name: str, value: float
) -> None:
    scorers = {name: Answers(lambda draft: value)}
    async with orc.Pipeline(engines(), router, db=":memory:", scorers=scorers) as pipeline:
        result = await pipeline.arun("?")
        stored = pipeline.journal.run(result.run_id)
    assert stored.signals
    for signal in stored.signals:
        assert (signal.value, signal.raw) == (None, None)
        assert signal.reason == f"{name} answered {value!r}, which is not in [0, 1]"
        assert signal.output_tokens == 3
    assert all(row.margin is None for row in stored.decisions)


async def test_a_raw_reading_that_is_no_number_is_none_either() -> None:
    scorers = {"judge": Answers(lambda draft: 1.0, raw=nan)}
    async with orc.Pipeline(engines(), orc.routers.SpecReason(), db=":memory:", scorers=scorers) as pipeline:
        result = await pipeline.arun("?")
        signals = pipeline.journal.run(result.run_id).signals
    assert {signal.reason for signal in signals} == {"judge read nan, which is no number"}


@pytest.mark.parametrize(
    ("num_steps", "num_runs", "events"), [(48, 1, 0), (49, 1, 1), (70, 1, 1), (7, 6, 0), (7, 9, 1)]
)
@pytest.mark.parametrize("router", [orc.routers.RSD(), orc.routers.Hybrid(keep="prm > 0.5")])
async def test_equal_readings_in_a_row_are_told_once_however_short_the_runs(
    router: Any, num_steps: int, num_runs: int, events: int
) -> None:
    scorers = {"prm": Answers(lambda draft: 0.8)}
    for _ in range(2):  # what one pipeline read is nothing to another one of the same router
        made = {name: Scripted(lambda request: content(request, num_steps), family=name) for name in ("small", "large")}
        told = []
        async with orc.Pipeline(made, router, db=":memory:", scorers=scorers) as pipeline:
            for _ in range(num_runs):
                stored = pipeline.journal.run((await pipeline.arun("?")).run_id)
                told += [loads(event.detail)["reason"] for event in stored.events if event.kind == CONSTANT]
            why = f"the last {SAME} readings of prm in a row are all 0.800: does it tell drafts apart?"
            assert told == [why] * events
            assert pipeline.doubts == (why,) * events
            apart = pipeline.but(router=router, scorers={}, seed=0, stop_on_answer=True)
            assert apart.doubts == ()


def content(request: Request, num_steps: int) -> str:
    """Write the next of so many numbered steps, then an answer."""
    place = bytes(request.prompt.ids()).count(b"\n\n")
    return f"step {place}\n\n" if place < num_steps else "Answer: 1"


def test_of_a_signal_that_is_now_and_then_the_same_for_long_it_is_said_once() -> None:
    readings = Readings()
    values = [*[0.9] * SAME, 0.1, *[0.9] * 2 * SAME]
    assert [bool(readings.count("prm", value)) for value in values].count(True) == 1
    assert [bool(readings.count("judge", 1.0)) for _ in range(SAME)] == [False] * (SAME - 1) + [True]
    assert list(readings.told) == ["prm", "judge"]


async def test_readings_that_differ_now_and_then_are_not_told() -> None:
    scorers = {"prm": Answers(lambda draft: 0.9 if draft.index % 40 == 39 else 0.8)}
    async with orc.Pipeline(engines(120), orc.routers.RSD(), db=":memory:", scorers=scorers) as pipeline:
        stored = pipeline.journal.run((await pipeline.arun("?")).run_id)
    assert not [event for event in stored.events if event.kind == CONSTANT]


@dataclass(frozen=True)
class HalfBlind:
    """A scorer that asks the large engine about what is the small one's; of anything else it cannot tell."""

    engine: str | None = None
    logprobs: int = 0

    async def score(self, engine: str, stream: StepStream, draft: Step, call: Call) -> Signal:
        prompt = await stream.with_draft(engine, draft)
        if draft.writer == "large":
            await asyncio.sleep(0.02)
            raise SignalUnavailable("prm", "it cannot be read")
        await call(engine, "judge", prompt, sampling=GREEDY, max_tokens=1)
        return Signal(name="prm", value=0.5)


@dataclass(frozen=True)
class AsksForBoth:
    """Scores a draft, and what the large engine writes in its place, in one ask."""

    needs = Needs(scorers=("prm",), engines=2)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        if draft.writer == "small":
            other = await ask.alternative("large", draft)
            await ask.score("prm", [draft, other])
        return keep()


async def test_of_readings_asked_for_together_no_call_goes_on_behind_one_that_is_missing(tmp_path: Path) -> None:
    def large(request: Any) -> Reply:
        return Reply(text="5", latency_s=0.3) if request.purpose == "judge" else Reply(text="Answer: 1")

    db = tmp_path / "journal.db"
    given = {"small": Scripted(["not that\n\n"]), "large": Scripted(large)}
    async with orc.Pipeline(given, AsksForBoth(), db=db, scorers={"prm": HalfBlind()}) as pipeline:
        result = await pipeline.arun("?")
        assert len(asyncio.all_tasks()) == 1
        await asyncio.sleep(0.4)
        stored = pipeline.journal.run(result.run_id)
    assert "judge" in [call.intent.purpose for call in stored.calls]
    assert all(call.result is not None for call in stored.calls)
    again = {"small": Scripted([]), "large": Scripted([])}
    async with orc.Pipeline(again, AsksForBoth(), db=db, scorers={"prm": HalfBlind()}) as pipeline:
        assert (await pipeline.arun("?", run_id=result.run_id)).ledger.total() == result.ledger.total()
