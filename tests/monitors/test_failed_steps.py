"""The share of given-up moves is exact where a person can count it."""

from __future__ import annotations

import pytest
from watched import agent, replay, thinking

from orchestrator.errors import UserError
from orchestrator.monitors import FailedSteps
from orchestrator.monitors.failed_steps import failed_of
from orchestrator.monitors.window import moves_of

CHAINS = {
    "all is well": (["Let x be 3.", "Then 2x = 6.", "So 6."], set()),
    "one slip": (["Let x be 3.", "Then 2x = 7.", "Wait, that is wrong: 2x = 6.", "So 6."], {1}),
    "a check that holds": (["2x = 6.", "Wait, let me check: 2x = 6 is right.", "So 6."], set()),
    "only a check": (["2x = 6.", "Wait, let me check.", "Wait, is it right? Yes.", "So 6."], set()),
    "wrong, then a check": (["2x = 7.", "Hmm, that is wrong. Let me check: 2x = 6.", "So 6."], {0}),
    "no": (["2x = 7.", "No, 2x = 6.", "Now, on.", "Waiting is over."], {0}),
    "a branch": (["n is 9.", "Try a sum.", "It gives 5.", "Alternatively, a product.", "It gives 9."], {1, 2}),
    "two branches": (["Try a.", "No end.", "Alternatively, b.", "No end.", "Go back to c.", "End."], {0, 1, 2, 3}),
    "a try behind a turn": (["n is 9.", "Another way: look.", "Suppose n is 8.", "Go back.", "Done."], {0, 2}),
    "a slip in the first move": (["Wait, what?", "So 6."], set()),
    "late words do not count": (["a" * 200 + " that is wrong", "b"], set()),
    "two slips": (["a", "Hmm, b", "No, c", "d"], {0, 1}),
    "not wrong": (["a", "There is nothing wrong with a.", "b"], set()),
    "empty": (["", ""], set()),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_given_up_moves_are_counted_exactly(name: str) -> None:
    texts, expected = CHAINS[name]
    assert failed_of(moves_of(thinking(*texts))) == expected


def test_the_event_carries_the_share_when_a_move_gives_something_up() -> None:
    texts = CHAINS["a branch"][0]
    (event,) = replay(FailedSteps(), thinking(*texts))
    assert (event.step, event.value, event.threshold) == (3, 0.5, 0.3)
    assert event.reason == "2 of 4 moves were given up"
    assert replay(FailedSteps(threshold=0.51), thinking(*texts)) == []
    assert replay(FailedSteps(threshold=0.5), thinking(*texts)) == [event._replace(threshold=0.5)]
    assert replay(FailedSteps(min_moves=5), thinking(*texts)) == []


def test_only_the_window_counts_and_an_agent_is_told_of_once_a_move() -> None:
    turns = [("go", "a()", "1"), ("on", "b()", "2"), ("on", "c()", "3"), ("Start over.", "d()", "4")]
    assert [(event.step, event.value) for event in replay(FailedSteps(), agent(*turns))] == [(7, 0.75)]
    assert replay(FailedSteps(), agent(*turns, window=2)) == []


@pytest.mark.parametrize("given", [{"threshold": 0}, {"threshold": float("nan")}, {"reach": 0}, {"min_moves": True}])
def test_a_bad_option_is_named(given: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        FailedSteps(**given)
