"""A claim that was corrected and comes back is told of; checks and true claims are not."""

from __future__ import annotations

import pytest
from watched import agent, replay, thinking

from orchestrator.errors import UserError
from orchestrator.monitors import FlawRepetition

CASES = {
    "corrected, then again": (["38*4 = 162.", "Wait, 38*4 = 152.", "So 38 * 4 = 162."], [2]),
    "called wrong, then again": (["38*4 = 162.", "Wait, that is wrong.", "38*4 = 162."], [2]),
    "called wrong in the same step": (["38*4 = 162. Wait, that's wrong.", "38*4 = 162."], [1]),
    "a sentence called wrong": (
        ["The pens cost more than cups. No, they cost less.", "ok", "the pens cost more than cups"],
        [2],
    ),
    "again and again": (["2+2=5", "2+2=4", "2+2=5", "2+2=5"], [2, 3]),
    "back to what is true": (["38*4 = 152.", "Wait, 38*4 = 162.", "No, 38*4 = 152."], []),
    "a check": (["1.3*4 = 5.1", "Wait, let me check that: 1.3*4 = 5.1", "Yes, 1.3*4 = 5.1"], []),
    "a correction only": (["38*4 = 162.", "That is wrong: 38*4 = 152.", "So 152."], []),
    "other numbers": (["38*4 = 162.", "That is wrong.", "138*4 = 162. 38*41 = 162"], []),
    "a short sentence": (["Yes it is. That is wrong.", "Yes it is."], []),
    "no, matter of fact": (
        ["There is no, or hardly any, price for it", "There is no, or hardly any, price for it"],
        [],
    ),
    "empty": (["", ""], []),
}


@pytest.mark.parametrize("name", CASES)
def test_only_a_flaw_that_comes_back_is_told_of(name: str) -> None:
    texts, expected = CASES[name]
    assert [event.step for event in replay(FlawRepetition(), thinking(*texts))] == expected


def test_the_reason_says_which_claim() -> None:
    (event,) = replay(FlawRepetition(), thinking(*CASES["corrected, then again"][0]))
    assert event[:2] == ("flaw-repetition", "38*4 = 162 was corrected before")


def test_an_agent_is_told_of_once_a_move_behind_what_came_of_it() -> None:
    turns = [("38*4 = 162", "a()", "1"), ("38*4 = 152", "b()", "2"), ("38*4 = 162", "c()", "3")]
    assert [event.step for event in replay(FlawRepetition(), agent(*turns))] == [5]


def test_what_lies_before_the_window_or_out_of_reach_is_forgotten() -> None:
    texts = CASES["corrected, then again"][0]
    assert replay(FlawRepetition(), thinking(*texts, window=1)) == []
    assert replay(FlawRepetition(reach=1), thinking(*texts)) == []


@pytest.mark.parametrize("given", [{"reach": 0}, {"shortest": 0.5}])
def test_a_bad_option_is_named(given: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        FlawRepetition(**given)
