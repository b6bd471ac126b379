"""Subgoals are credited once, failures never, and without them every so many moves are a milestone."""

from __future__ import annotations

from itertools import permutations

import pytest
from watched import agent, replay, thinking

from orchestrator.errors import UserError
from orchestrator.monitors import Milestone
from orchestrator.monitors.window import Move
from orchestrator.types import Event

TURNS = [("lookup(pen)", "31"), ("lookup(cup)", "4"), ("calc(31+4)", "35")]


def is_sum(move: Move) -> bool:
    return move.action.startswith("calc")


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_subgoal_is_credited_once_in_any_order(order: tuple[int, ...]) -> None:
    monitor = Milestone(subgoals=("lookup(pen)", r"regex:lookup\(c.p\)", is_sum), every=0)
    names = ["'lookup(pen)'", repr(r"regex:lookup\(c.p\)"), "'is_sum'"]
    run = agent(*[TURNS[place] for place in order for _ in range(2)])
    events = replay(monitor, run)
    assert [event.reason for event in events] == [f"subgoal met: {names[place]}" for place in order]
    assert [event.step for event in events] == [1, 5, 9]


def test_no_credit_for_what_failed_or_was_only_thought() -> None:
    monitor = Milestone(subgoals=("lookup(pen)",), every=0)
    run = agent(("I call lookup(pen)", "calc(1)", "1"), ("lookup(pen)", "error: busy"), ("lookup(pen)", "31"))
    assert [event.step for event in replay(monitor, run)] == [5]
    assert [event.step for event in replay(monitor, thinking("first", "so Lookup(PEN) it is"))] == [1]


def test_two_subgoals_of_one_move_are_one_event() -> None:
    (event,) = replay(Milestone(subgoals=("pen", "31"), every=0), agent(*TURNS[:2]))
    assert event.reason == "subgoal met: 'pen', '31'"


def test_a_text_is_met_as_whole_words() -> None:
    monitor = Milestone(subgoals=("pen",), every=0)
    assert replay(monitor, agent(("open(pencil)", "opened"))) == []


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 3, 5, 7, 9]), (2, [3, 7]), (3, [5]), (6, [])])
def test_every_so_many_moves_are_a_milestone(every: int, expected: list[int]) -> None:
    run = agent(*[(f"lookup({name})", "1") for name in "abcde"])
    events = replay(Milestone(every=every), run)
    assert [event.step for event in events] == expected
    assert all((event.value, event.threshold) == (every, every) for event in events)
    moves = "1 move" if every == 1 else f"{every} moves"
    assert all(event.reason == f"{moves} since the last milestone" for event in events)


def test_a_subgoal_begins_the_count_anew() -> None:
    run = agent(*[(f"lookup({name})", "1") for name in "abcdef"])
    events = replay(Milestone(subgoals=("lookup(b)",), every=3), run)
    assert [event.step for event in events] == [3, 9]


def test_a_move_that_was_told_of_as_a_milestone_is_not_told_of_again() -> None:
    run = agent(*TURNS, events=[Event("milestone", "told by another monitor", step=5)])
    assert replay(Milestone(subgoals=("35",), every=1), run) == []


def test_behind_a_hand_over_moves_are_counted_anew_and_subgoals_stay_met() -> None:
    told = [Event("milestone", "subgoal met: 'lookup(a)'", step=1)]
    run = agent(*[(f"lookup({name})", "1") for name in "abcdea"], window=4, events=told)
    events = replay(Milestone(subgoals=("lookup(a)",), every=3), run)
    assert [event.step for event in events] == [9]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"every": -1}, "every = -1"),
        ({"every": 0}, "nothing would be noticed"),
        ({"subgoals": "pen"}, "must be a list"),
        ({"subgoals": ("a", "a")}, "must be different"),
        ({"subgoals": ("",)}, "not empty"),
        ({"subgoals": ("regex:(",)}, "no regular expression"),
        ({"subgoals": (3,)}, "subgoal 3"),
    ],
)
def test_a_bad_option_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Milestone(**given)
