"""Monitors and routers that go together: what a router waits for is raised, and what nobody heeds is said."""

from __future__ import annotations

import re
from typing import Any

import pytest

from orchestrator.decisions import Decision, keep
from orchestrator.engines.base import Request
from orchestrator.engines.scorers.verdict import Verdict
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import UserError
from orchestrator.monitors import MONITORS, Chance, Drift, Every, Milestone, Overthinking, Redundant, Spent, Stuck, find
from orchestrator.routers import Cascade, SmallOnly
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.timeline import timeline
from orchestrator.tools import tool
from orchestrator.types import Event, History

IGNORES: dict[str, Any] = {"on_stuck": "ignore", "on_milestone": "ignore", "others": {}}


class Silent:
    """Says nothing of what it raises."""

    def watch(self, history: History) -> Event | None:
        return Event("mood", "low")


class Heeds(SmallOnly):
    """Says nothing of what it heeds."""

    async def on_events(self, history: History, events: Any, ask: Any) -> Decision:
        return keep(reason="seen")


def made(router: Any, *monitors: Any) -> Pipeline:
    engines = {"small": Scripted(["a\n\n", "\\boxed{1}"]), "large": Scripted([])}
    return Pipeline(engines, router, monitors=monitors, db=":memory:")


@pytest.mark.parametrize(
    "monitors", [(), ("stalled",), (Spent(),), (Overthinking(),), (Every(kind="look"), Redundant())]
)
def test_a_cascade_is_refused_whose_monitors_raise_nothing_that_it_acts_on(monitors: Any) -> None:
    told = "router cascade acts on stuck, drift, milestone, and no monitor here raises any of these: "
    with pytest.raises(UserError) as refused:
        made("cascade", *monitors)
    assert str(refused.value) == told + "add monitors, such as stuck, drift, milestone"
    with made("small") as other, pytest.raises(UserError, match=r"^router cascade acts on stuck"):
        other.but(router="cascade", monitors=monitors)


@pytest.mark.parametrize("kinds", ["stuck", 3])
def test_kinds_that_are_no_tuple_are_refused_and_none_is_to_say_nothing(kinds: Any) -> None:
    silent = Silent()
    silent.raises = kinds  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=rf"raises = {kinds!r}: give a tuple of kinds, or leave it out"):
        made("small", silent)
    silent.raises = None  # type: ignore[attr-defined]
    made("cascade", silent)


def test_a_kind_that_no_monitor_of_ours_is_called_like_is_named_without_one() -> None:
    with pytest.raises(UserError, match=r"acts on mood, and no monitor here raises any of these: add one that does$"):
        made(Cascade(**{**IGNORES, "others": {"mood": "stop"}}), Stuck())


@pytest.mark.parametrize(
    ("router", "monitors"),
    [
        ("cascade", [Stuck()]),
        ("cascade", [Spent(), Drift()]),
        ("cascade", [Every(moves=2)]),
        ("cascade", [Chance(kind="milestone")]),
        ("cascade", [Redundant(kind="stuck")]),
        ("cascade", [Silent()]),
        (Cascade(others={"overthinking": "stop"}), [Overthinking()]),
        (Cascade(**IGNORES), []),
        (Heeds(), []),
        ("small", []),
    ],
)
def test_what_can_act_is_not_refused(router: Any, monitors: Any) -> None:
    made(router, *monitors)


@pytest.mark.parametrize("name", MONITORS)
def test_a_monitor_says_what_it_raises(name: str) -> None:
    assert all(isinstance(kind, str) and kind for kind in find(name)().raises)


@pytest.mark.parametrize(
    ("router", "monitor", "is_unheeded"),
    [
        ("small", Every(moves=1), True),
        ("small", Silent(), True),
        ("cascade", Every(moves=1, kind="stuck"), False),
        ("cascade", Silent(), True),
        (Heeds(), Silent(), False),
    ],
)
def test_what_nobody_heeds_is_said_in_the_trace_and_once_to_people(
    router: Any, monitor: Any, is_unheeded: bool
) -> None:
    with made(router, monitor) as pipeline:
        result = pipeline.run("q")
        shown = timeline(pipeline.journal.run(result.run_id)).plain
        assert ("; nothing is done about it" in shown) is is_unheeded
        assert len(pipeline.doubts) == is_unheeded
        for doubt in pipeline.doubts:
            assert re.fullmatch(r"monitor \S+ notices what (small|cascade) \S+ does nothing about: .*", doubt)


PLACES = ("attic", "barn", "cellar", "den", "entry", "farm", "garage", "hall")


@tool(idempotent=True)
def look(at: str) -> str:
    """Look into a place."""
    return f"the {at} is empty"


def strays(request: Request) -> str:
    """Look into one place after another, though the question is another one, and say nothing twice."""
    assert request.prompt is not None
    number = bytes(request.prompt.ids()).decode().count("is empty")
    return "\\boxed{lost}" if number == len(PLACES) else f"<tool>look({PLACES[number]})</tool>"


JUDGED = [Stuck(), Milestone(every=3)]


@pytest.mark.parametrize(
    ("says", "monitors", "options", "handed", "reason"),
    [
        ("INCORRECT", [Stuck()], {}, [], None),
        ("INCORRECT", JUDGED, {}, [6], "verdict fails"),
        ("CORRECT", JUDGED, {}, [], "verdict passes"),
        ("perhaps", JUDGED, {}, [], "no reading of verdict"),
        ("perhaps", JUDGED, {"on_unreadable": "fail"}, [6], "no reading of verdict"),
        ("INCORRECT", JUDGED, {"on_milestone": "ignore"}, [], "nothing is done about milestone"),
    ],
)
def test_a_drift_without_a_loop_is_caught_only_where_a_milestone_is_judged(
    says: str, monitors: list[Any], options: dict[str, Any], handed: list[int], reason: str | None
) -> None:
    large = Scripted(lambda request: says if request.purpose == "judge" else "\\boxed{found}")
    with Pipeline(
        {"small": Scripted(strays), "large": large},
        Cascade(**options),
        monitors=monitors,
        tools=[look],
        scorers={"verdict": Verdict(reading="word")},
        db=":memory:",
    ) as made:
        result = made.run("What does a pen cost?", run_id="it")
        stored = made.journal.run("it")
    assert result.answer == ("found" if handed else "lost")
    assert [row.step for row in stored.decisions if row.action == "handoff"] == handed
    assert [event for event in stored.events if event.kind == "stuck"] == []
    said = [row.reason for row in stored.decisions if row.door == "on_events"]
    assert bool(said) == (reason is not None) and all(reason in each for each in said if reason)
