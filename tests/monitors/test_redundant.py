"""A call that is answered as it was before is noticed, wherever in the run that was; an error may be tried again."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from watched import agent, errand_turns, replay, thinking

from orchestrator.bench.workloads.tool_tasks import errands
from orchestrator.errors import UserError
from orchestrator.monitors import Redundant

CUP, PEN, BUSY, NO = ("lookup(cup)", "7"), ("lookup(pen)", "3"), ("lookup(cup)", "error: busy"), ("lookup(x)", "error: no x")  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    "turns, expected",
    [
        ([CUP, PEN], []),
        ([CUP, CUP, CUP], [3, 5]),
        ([CUP, PEN, CUP], [5]),
        ([("lookup(cup)", "7"), ("lookup(cup)", "8")], []),
        ([BUSY, CUP], []),
        ([BUSY, BUSY, CUP], []),
        ([BUSY, BUSY, BUSY], [5]),
        ([NO, PEN, NO, CUP, NO], [9]),
        ([("why", *CUP), ("another why", *CUP)], [3]),
        ([CUP], []),
    ],
    ids=["others", "a row", "apart", "it changed", "tried again", "twice", "thrice", "errors apart", "thought", "one"],
)
def test_it_is_noticed_behind_the_answer(turns: list[tuple[str, ...]], expected: list[int]) -> None:
    assert [event.step for event in replay(Redundant(), agent(*turns))] == expected


def test_how_often_an_error_may_be_seen_is_an_option() -> None:
    (event,) = replay(Redundant(tries=1, kind="stuck"), agent(BUSY, BUSY))
    assert (event.kind, event.step, event.value, event.threshold) == ("stuck", 3, 1, 1)
    assert event.reason == "answered the same before: lookup(cup) -> error: busy"


def test_what_was_asked_before_a_hand_over_counts() -> None:
    assert [event.step for event in replay(Redundant(), agent(CUP, PEN, CUP, window=2))] == [5]


@pytest.mark.parametrize("between, is_noticed", [(199, True), (200, False)])
def test_as_far_back_as_400_steps_is_looked(between: int, is_noticed: bool) -> None:
    run = agent(CUP, *((f"lookup(pen{number})", "3") for number in range(between)), CUP)
    assert (Redundant().watch(run) is not None) == is_noticed


def test_a_run_without_tools_repeats_no_call() -> None:
    assert replay(Redundant(), thinking("the same", "the same")) == []


def test_a_good_worker_is_never_told_of() -> None:
    for errand in islice(errands("train", 6), 60):
        assert replay(Redundant(), agent(*errand_turns(errand), task=errand.prompt)) == []


@pytest.mark.parametrize("given", [{"kind": ""}, {"tries": 0}, {"tries": True}])
def test_a_bad_option_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        Redundant(**given)
