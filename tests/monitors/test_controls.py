"""The controls: events every few moves and by chance, whatever a run does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import UserError
from orchestrator.monitors import Chance, Every, Milestone
from orchestrator.types import History, Step, StepKind, Stop, Task

THOUGHT, ACTION, OBSERVATION = StepKind.THOUGHT, StepKind.ACTION, StepKind.OBSERVATION


def noticed(monitor: Any, kinds: Sequence[StepKind], *, window: int = 0, seed: int = 7) -> list[int]:
    """Return the indices of the steps behind which the monitor raised an event, asked behind each."""
    past = History(task=Task.of("q"), engines=("small", "large"), seed=seed, window=window)
    found = []
    for index, kind in enumerate(kinds):
        past.steps.append(
            Step(index=index, attempt=0, writer="small", text="x", num_tokens=1, stop=Stop.END, kind=kind)
        )
        if (event := monitor.watch(past)) is not None:
            assert event.kind == getattr(monitor, "kind", "milestone")
            past.events.append(event._replace(step=index))
            found.append(index)
    return found


@pytest.mark.parametrize(
    ("moves", "num_steps", "window", "steps"),
    [
        (1, 3, 0, [0, 1, 2]),
        (3, 7, 0, [2, 5]),
        (3, 2, 0, []),
        (3, 9, 4, [6]),
        (2, 4, 4, []),
    ],
)
def test_every_counts_the_thoughts_of_the_window(moves: int, num_steps: int, window: int, steps: list[int]) -> None:
    assert noticed(Every(moves=moves), [THOUGHT] * num_steps, window=window) == steps


def test_every_tells_of_a_call_once_and_with_its_answer() -> None:
    assert noticed(Every(moves=1), [ACTION, OBSERVATION] * 3) == [1, 3, 5]
    assert noticed(Every(moves=2), [ACTION, OBSERVATION, THOUGHT, THOUGHT, ACTION, OBSERVATION]) == [5]


def test_an_observation_without_text_completes_a_move_as_well() -> None:
    past = History(task=Task.of("q"), engines=("small",), seed=0)
    for index, (kind, text) in enumerate([(ACTION, "look()"), (OBSERVATION, "")]):
        past.steps.append(
            Step(index=index, attempt=0, writer="small", text=text, num_tokens=1, stop=Stop.END, kind=kind)
        )
    assert Every(moves=1).watch(past) is not None


@settings(max_examples=60)
@given(st.lists(st.booleans(), max_size=20), st.integers(1, 6), st.integers(0, 12))
def test_every_and_a_milestone_without_subgoals_count_alike(thoughts: list[bool], moves: int, window: int) -> None:
    """Each move is a call and its answer, with a thought before it or without one."""
    kinds = [kind for is_thought in thoughts for kind in ([THOUGHT] * is_thought + [ACTION, OBSERVATION])]
    assert noticed(Every(moves=moves, kind="milestone"), kinds, window=window) == noticed(
        Milestone(every=moves), kinds, window=window
    )


def test_every_raises_what_it_is_told_to() -> None:
    assert noticed(Every(moves=2, kind="milestone"), [THOUGHT] * 4) == [1, 3]


@pytest.mark.parametrize(("share", "number"), [(0.0, 0), (1.0, 50)])
def test_chance_at_its_ends_is_never_and_always(share: float, number: int) -> None:
    assert len(noticed(Chance(share=share), [THOUGHT] * 50)) == number


def test_chance_raises_about_its_share_and_not_behind_half_a_move() -> None:
    found = noticed(Chance(share=0.3), [ACTION, OBSERVATION] * 200)
    assert all(index % 2 for index in found)
    assert len(found) / 200 == pytest.approx(0.3, abs=0.08)


def test_chance_draws_the_same_again_and_another_run_or_seed_or_event_draws_others() -> None:
    kinds = [THOUGHT] * 60
    drawn = noticed(Chance(share=0.5), kinds)
    assert noticed(Chance(share=0.5), kinds) == drawn
    assert noticed(Chance(share=0.5), kinds, window=30) == [index for index in drawn if index >= 30]
    others = [Chance(share=0.5, seed=1), Chance(share=0.5, kind="milestone")]
    assert all(noticed(other, kinds) != drawn for other in others)
    assert noticed(Chance(share=0.5), kinds, seed=8) != drawn


def test_a_larger_share_adds_events_and_takes_none_away() -> None:
    few, many = (set(noticed(Chance(share=share), [THOUGHT] * 80)) for share in (0.2, 0.6))
    assert few < many


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Every(moves=0), "moves = 0"),
        (lambda: Every(kind=" "), "kind is empty"),
        (lambda: Chance(share=1.01), r"share = 1.01 is not in \[0, 1\]"),
        (lambda: Chance(share=-0.01), "share = -0.01"),
        (lambda: Chance(share=float("nan")), "share = nan"),
        (lambda: Chance(kind=""), "kind is empty"),
    ],
)
def test_options_that_mean_nothing_are_refused_by_name(make: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
