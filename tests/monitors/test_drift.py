"""A run that no longer mentions its task is told of, once, as far as words can tell."""

from __future__ import annotations

import pytest
from watched import agent, replay, thinking

from orchestrator.errors import UserError
from orchestrator.monitors import Drift
from orchestrator.types import Event

TASK = "What is the price of 31 pens and 45 cups?"
ON, OFF = "the price of 31 pens", "the weather in Rome"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([ON] * 12, []),
        ([ON] * 6 + [OFF] * 5, []),
        ([ON] * 6 + [OFF] * 6, [11]),
        ([ON] * 6 + [OFF] * 12, [11]),
        ([ON] * 6 + ["pens"] + [OFF] * 5, []),
        ([OFF] * 12, [11]),
        ([OFF] * 6 + [ON] * 6, []),
        ([OFF], []),
    ],
    ids=["on it", "one short", "off it", "told once", "a word of it", "never on it", "comes to it", "begins"],
)
def test_drift_is_where_the_last_moves_mention_nothing_of_the_task(texts: list[str], expected: list[int]) -> None:
    events = replay(Drift(), thinking(*texts, task=TASK))
    assert [event.step for event in events] == expected
    assert all((event.value, event.threshold) == (0, 0.1) for event in events)


def test_the_threshold_is_held_against_the_share_of_what_the_first_moves_mention() -> None:
    run = thinking(*[ON] * 2, *["pens"] * 2, task=TASK)
    (event,) = replay(Drift(moves=2, threshold=0.4), run)
    assert event.value == pytest.approx(1 / 3)
    assert event.reason == "the last 2 moves mention 1 of the 5 words of the task, the first 3"
    assert replay(Drift(moves=2, threshold=0.3), run) == []


def test_calls_and_answers_are_read_like_thoughts() -> None:
    on, off = ("lookup(pens)", "31"), ("weather(Rome)", "sun")
    assert [event.step for event in replay(Drift(moves=2), agent(on, on, off, off, task=TASK))] == [7]
    assert replay(Drift(moves=2), agent(on, on, ("weather(Rome)", "31 degrees"), off, task=TASK)) == []


def test_behind_a_hand_over_it_is_told_of_again() -> None:
    told = [Event("drift", "", step=11)]
    run = thinking(*[ON] * 6, *[OFF] * 14, task=TASK, window=13, events=told)
    assert [event.step for event in replay(Drift(), run)] == [18]


def test_a_task_without_words_of_its_own_has_no_drift() -> None:
    assert replay(Drift(moves=1), thinking(ON, OFF, OFF, task="What is it?")) == []


@pytest.mark.parametrize("given", [{"threshold": 1.1}, {"threshold": float("nan")}, {"moves": 0}])
def test_a_bad_option_is_named(given: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        Drift(**given)
