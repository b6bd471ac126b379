"""Routers as tables: what they see, what they decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from orchestrator import routers
from orchestrator.decisions import Decision, Plan, StopRun
from orchestrator.errors import SignalUnavailable, UnknownName, UserError
from orchestrator.routers import LargeOnly, Random, SmallOnly, SpecReason
from orchestrator.types import History, Signal, Status, Step, Stop, Task


def history(num_steps: int = 0, *, num_tokens: int = 0, seed: int = 7) -> History:
    steps = [step(index) for index in range(num_steps)]
    return History(task=Task.of("q"), engines=("small", "large"), seed=seed, steps=steps, num_tokens=num_tokens)


def step(index: int = 0, writer: str = "small") -> Step:
    return Step(index=index, attempt=0, writer=writer, text="x\n\n", num_tokens=3, stop=Stop.DELIMITER)


class Scores:
    """Answers every ask with one reading, or with none."""

    def __init__(self, raw: float | None) -> None:
        self.raw = raw
        self.asked: list[str] = []

    async def score(self, name: str, draft: Step | Sequence[Step]) -> Any:
        self.asked.append(name)
        if self.raw is None:
            raise SignalUnavailable(name, "the judge answered 'x'")
        return Signal(name=name, value=self.raw / 9, raw=self.raw)


@pytest.mark.parametrize("name", routers.ROUTERS)
def test_a_router_is_found_by_name_and_built_without_options(name: str) -> None:
    assert routers.find(name)() == routers.find(name)()


def test_an_unknown_router_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownName, match=r"'specresaon'; known: .*\boracle, .*\bspecreason\b"):
        routers.find("specresaon")


def test_large_only_plans_the_large_engine_and_small_only_has_the_default_doors() -> None:
    assert LargeOnly().before_step(history()).engine == "large"
    assert not hasattr(SmallOnly(), "before_step")
    assert not hasattr(SmallOnly(), "after_draft")


def shares(policy: Random, seed: int) -> list[str]:
    return [policy.before_step(history(index, seed=seed)).engine for index in range(400)]


def test_random_reaches_its_share_and_draws_the_same_again() -> None:
    drawn = shares(Random(large_share=0.3), seed=1)
    assert 0.23 < drawn.count("large") / 400 < 0.37
    assert drawn == shares(Random(large_share=0.3), seed=1)
    assert drawn != shares(Random(large_share=0.3), seed=2)
    assert drawn != shares(Random(large_share=0.3, seed=1), seed=1)


@pytest.mark.parametrize(("share", "engine"), [(0.0, "small"), (1.0, "large")])
def test_random_at_its_ends_is_one_engine_alone(share: float, engine: str) -> None:
    assert set(shares(Random(large_share=share), seed=3)) == {engine}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_random_refuses_a_share_outside_0_and_1(share: float) -> None:
    with pytest.raises(UserError, match="large_share"):
        Random(large_share=share)


@pytest.mark.parametrize(
    ("threshold", "raw", "action", "margin"),
    [
        (7, 9, "keep", 2),
        (7, 7, "keep", 0),
        (7, 6, "rewrite", -1),
        (7, 6.99, "rewrite", -0.01),
        (0, 0, "keep", 0),
        (10, 9, "rewrite", -1),
    ],
)
async def test_specreason_keeps_from_the_threshold_on(threshold: float, raw: float, action: str, margin: float) -> None:
    ask = Scores(raw)
    decision = await SpecReason(threshold=threshold).after_draft(history(), step(), ask)
    assert decision.action == action
    assert decision.margin == pytest.approx(margin)
    assert (decision.threshold, ask.asked) == (threshold, ["judge"])
    assert getattr(decision, "engine", "large") == "large"


@pytest.mark.parametrize(("answer", "action"), [("reject", "rewrite"), ("accept", "keep"), ("stop", "stop")])
async def test_specreason_decides_as_configured_without_a_rating_and_says_so(answer: Any, action: str) -> None:
    decision = await SpecReason(on_unreadable=answer).after_draft(history(), step(), Scores(None))
    assert decision.action == action
    assert decision.reason == f"no reading of judge (the judge answered 'x'): {answer}"


async def test_specreason_reads_the_average_when_told_to() -> None:
    policy = SpecReason(reading="average")
    ask = Scores(7.2)
    assert (await policy.after_draft(history(), step(), ask)).action == "keep"
    assert (ask.asked, policy.needs.scorers) == (["judge-average"], ("judge-average",))


async def test_the_first_steps_are_planned_for_the_large_engine_and_never_rated() -> None:
    policy, ask = SpecReason(first_n=2), Scores(0)
    planned = [policy.before_step(history(index)) for index in range(4)]
    assert [plan.engine for plan in planned if isinstance(plan, Plan)] == ["large", "large", "small", "small"]
    decision: Decision = await policy.after_draft(history(), step(writer="large"), ask)
    assert (decision.action, ask.asked) == ("keep", [])


def test_specreason_limits_a_step_by_what_the_run_has_left() -> None:
    policy = SpecReason(step_tokens=50, total_tokens=100)
    assert policy.before_step(history(1, num_tokens=20)) == Plan(engine="small", max_tokens=50)
    assert policy.before_step(history(1, num_tokens=70)) == Plan(engine="small", max_tokens=30)
    stopped = policy.before_step(history(1, num_tokens=100))
    assert isinstance(stopped, StopRun)
    assert stopped.status is Status.BUDGET


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": -1},
        {"threshold": 11},
        {"threshold": float("nan")},
        {"reading": "mean"},
        {"on_unreadable": "guess"},
        {"first_n": -1},
        {"step_tokens": 0},
        {"total_tokens": 0},
    ],
)
def test_specreason_refuses_options_out_of_range_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        SpecReason(**options)
