"""RSD: what its paper promises, and its edges."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest
from seen import THREE, Table, history, step

import orchestrator as orc
from orchestrator.decisions import Plan, StopRun
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import MissingCapability, UserError
from orchestrator.routers import RSD
from orchestrator.types import Status

STEPS = 6


def writer(name: str) -> Any:
    """Write numbered steps, then an answer; as the judge, rate by the number of steps written."""

    def script(request: Request) -> str:
        assert request.prompt is not None
        written = bytes(request.prompt.ids()).decode().count("step of")
        if request.purpose == "judge":
            return "938271"[(written - 1) % 6]
        return f"{name} says \\boxed{{1}}" if written == STEPS else f"{name}: a step of it, number {written}\n\n"

    return script


def pipeline(router: Any) -> orc.Pipeline:
    return orc.Pipeline({"small": Scripted(writer("small")), "large": Scripted(writer("large"))}, router, db=":memory:")


@pytest.mark.parametrize(
    ("threshold", "score", "action", "margin"),
    [
        (0.7, 0.9, "keep", 0.2),
        (0.7, 0.7, "keep", 0.0),
        (0.7, 0.69, "rewrite", -0.01),
        (1.0, 1.0, "keep", 0.0),
        (1.0, 0.999, "rewrite", -0.001),
    ],
)
async def test_a_draft_is_kept_from_delta_on(threshold: float, score: float, action: str, margin: float) -> None:
    ask = Table({"prm": score})
    decision = await RSD(threshold=threshold).after_draft(history(), step(), ask)
    assert (decision.action, decision.threshold, ask.asked) == (action, threshold, ["prm"])
    assert decision.margin == pytest.approx(margin)
    assert decision.alternatives == (("rewrite",) if action == "keep" else ("keep",))
    assert [signal.name for signal in decision.signals] == ["prm"]


@pytest.mark.parametrize(("delta", "control"), [(0.0, "small"), (1.01, "large")])
async def test_delta_0_is_the_draft_only_run_and_above_1_the_target_only_run(delta: float, control: str) -> None:
    line = pipeline(RSD(threshold=delta))
    routed, alone = await line.arun("q"), await pipeline(control).arun("q")
    assert [each.text for each in routed.steps] == [each.text for each in alone.steps]
    other = line.engines["large" if control == "small" else "small"]
    assert isinstance(other, Scripted)
    assert not other.requests


async def test_the_target_is_called_as_often_as_drafts_are_rejected() -> None:
    line = pipeline(RSD(threshold=0.5, scorer="judge"))
    result = await line.arun("q")
    rejected = [row for row in line.journal.run(result.run_id).decisions if row.action == "rewrite"]
    assert result.ledger.total(engine="large", purpose="rewrite").calls == len(rejected) > 0
    assert {each.index for each in result.steps if each.writer == "large"} == {row.step for row in rejected}


@pytest.mark.parametrize(("then", "action"), [("reject", "rewrite"), ("accept", "keep"), ("stop", "stop")])
async def test_without_a_score_it_decides_as_configured_and_says_so(then: Any, action: str) -> None:
    decision = await RSD(on_unreadable=then).after_draft(history(), step(), Table({"prm": None}))
    assert decision.action == action
    assert decision.reason.startswith("no reading of prm (")
    assert decision.reason.endswith(f"): {then}")


async def test_what_the_large_engine_wrote_is_not_scored() -> None:
    ask = Table()
    decision = await RSD().after_draft(history(), step(writer="large"), ask)
    assert (decision.action, ask.asked) == ("keep", [])


@pytest.mark.parametrize(("to", "engine"), [("largest", "large"), ("next", "middle")])
async def test_of_three_engines_the_largest_or_the_next_writes_a_rejected_step(to: Any, engine: str) -> None:
    decision = await RSD(to=to).after_draft(history(engines=THREE), step(), Table({"prm": 0.1}))
    assert getattr(decision, "engine", "") == engine


def test_it_stops_at_the_published_number_of_steps_and_limits_each() -> None:
    steps = [step(index=index) for index in range(100)]
    assert RSD().before_step(history(steps[:99])) == Plan(engine="small", max_tokens=4096)
    stopped = RSD().before_step(history(steps))
    assert isinstance(stopped, StopRun)
    assert stopped.status is Status.BUDGET


async def test_a_scorer_that_the_pipeline_lacks_is_named_before_anything_runs() -> None:
    with pytest.raises(MissingCapability, match="asks scorer 'prm'; the pipeline has judge, judge-average"):
        await pipeline(RSD()).arun("q")
    assert RSD(threshold=0).needs.scorers == RSD(threshold=1.01).needs.scorers == ()


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": -0.1},
        {"threshold": 1.02},
        {"threshold": nan},
        {"scorer": ""},
        {"on_unreadable": "guess"},
        {"to": "up"},
        {"max_steps": 0},
        {"step_tokens": 0},
    ],
)
def test_options_out_of_range_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"rsd: {next(iter(options))}"):
        RSD(**options)
