"""A warning for each mark, once."""

from __future__ import annotations

import pytest
from watched import replay, thinking

from orchestrator.errors import UserError
from orchestrator.monitors import Spent
from orchestrator.types import Event, Mode

TEN = "a b c d e f g h i j"


@pytest.mark.parametrize(
    ("limit", "texts", "expected"),
    [
        (100, [TEN] * 12, [(4, 0.5), (7, 0.8), (9, 0.95)]),
        (100, [" ".join([TEN] * 9), TEN, TEN], [(0, 0.8), (1, 0.95)]),
        (100, [TEN] * 4, []),
        (1, ["a", "b"], [(0, 0.95)]),
        (None, [TEN] * 12, []),
    ],
    ids=["step by step", "two marks at once", "below", "tiny", "no limit"],
)
def test_every_mark_is_told_of_once(limit: int | None, texts: list[str], expected: list[tuple[int, float]]) -> None:
    events = replay(Spent(tokens=limit), thinking(*texts))
    assert [(event.step, event.threshold) for event in events] == expected
    assert all(event.value >= event.threshold for event in events)


def test_thought_is_held_against_the_mode_where_no_limit_is_given() -> None:
    run = thinking(TEN, thought_tokens=60, mode=Mode(name="think(100)", budget=100))
    event = Spent().watch(run)
    assert event == Event("budget", "tokens of thought: 60 of 100 spent", value=0.6, threshold=0.5)
    assert Spent(thought_tokens=200).watch(run) is None


def test_both_limits_warn_beside_each_other() -> None:
    run = thinking(TEN, thought_tokens=10)
    monitor = Spent(tokens=10, thought_tokens=20)
    first = monitor.watch(run)
    run.events.append(first)
    second = monitor.watch(run)
    run.events.append(second)
    assert (first.reason, second.reason) == ("tokens: 10 of 10 spent", "tokens of thought: 10 of 20 spent")
    assert monitor.watch(run) is None


@pytest.mark.parametrize("given", [{"tokens": 0}, {"thought_tokens": 1.5}, {"marks": ()}, {"marks": (0.5, 1.2)}])
def test_a_bad_option_is_named(given: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        Spent(**given)
