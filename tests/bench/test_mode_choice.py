"""Choosing modes beside the best mode of each task: worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.bench.mode_choice import Tried, best_mode, best_modes, compare, cost_of_pass
from orchestrator.errors import UserError

FIXED = [
    Tried("easy", "no_think", True, 10),
    Tried("easy", "think", True, 100),
    Tried("hard", "no_think", False, 10),
    Tried("hard", "think", True, 300),
    Tried("hopeless", "no_think", False, 10),
    Tried("hopeless", "think", False, 600),
]


@pytest.mark.parametrize(
    ("rows", "cost"),
    [
        ([], None),
        ([Tried("a", "think", False, 5)], None),
        ([Tried("a", "think", True, 5), Tried("b", "think", False, 7)], 12),
        ([Tried("a", "think", True, 5), Tried("b", "think", True, 7)], 6),
    ],
)
def test_cost_of_pass_is_what_all_cost_divided_by_the_number_of_right_answers(
    rows: list[Tried], cost: float | None
) -> None:
    assert cost_of_pass(rows) == cost


@pytest.mark.parametrize(
    ("rows", "mode"),
    [
        ([("instant", True, 5), ("no_think", True, 3), ("think", True, 9)], "no_think"),
        ([("instant", False, 1), ("think", True, 9)], "think"),
        ([("instant", True, 3), ("no_think", True, 3)], "instant"),
        ([("instant", False, 1), ("no_think", False, 1)], "think"),
        ([], "think"),
    ],
)
def test_the_best_mode_is_the_cheapest_right_one_and_thinking_where_none_is(
    rows: list[tuple[str, bool, float]], mode: str
) -> None:
    assert best_mode([Tried("a", *row) for row in rows]) == mode


def test_each_task_has_its_own_best_mode() -> None:
    assert best_modes(FIXED) == {"easy": "no_think", "hard": "think", "hopeless": "think"}


def test_the_saving_is_told_beside_that_of_the_best_modes() -> None:
    chosen = [
        Tried("easy", "no_think", True, 40),  # a first try and its gate
        Tried("hard", "think", True, 330),
        Tried("hopeless", "no_think", False, 30),
    ]
    found = compare(chosen, FIXED)
    assert (found.num_tasks, found.accuracy, found.always_accuracy) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert found.saving == pytest.approx(1 - 400 / 1000)
    assert found.best_saving == pytest.approx(1 - 910 / 1000)
    assert found.share == pytest.approx(0.6 / 0.09)  # it gave up on a task that the best modes think about
    assert (found.cost_of_pass, found.always_cost_of_pass, found.best_cost_of_pass) == (200, 500, 455)
    assert dict(found.confusion) == {
        ("no_think", "no_think"): 1,
        ("think", "think"): 1,
        ("think", "no_think"): 1,
    }


def test_choosing_may_cost_more_than_it_saves_and_there_may_be_nothing_to_save() -> None:
    dearer = compare([Tried("easy", "think", True, 120)], FIXED)
    assert (dearer.saving, dearer.share) == (pytest.approx(-0.2), pytest.approx(-0.2 / 0.9))
    nothing = compare([Tried("hard", "think", True, 300)], FIXED)
    assert (nothing.saving, nothing.best_saving, nothing.share) == (0, 0, None)
    hopeless = compare([Tried("hopeless", "think", False, 600)], FIXED)
    assert (hopeless.cost_of_pass, hopeless.best_cost_of_pass) == (None, None)


@pytest.mark.parametrize(
    ("chosen", "fixed", "said"),
    [
        ([], FIXED, "nothing to compare"),
        ([FIXED[0], FIXED[1]], FIXED, "one run for each task"),
        ([FIXED[0]], [*FIXED, FIXED[0]], "task 'easy' was tried in mode no_think twice"),
        ([FIXED[0]], FIXED[:1], "task 'easy' was not tried in mode think"),
        ([FIXED[0]], FIXED[2:], "task 'easy' was not tried in mode think"),
        ([Tried("a", "think", True, 1)], [Tried("a", "think", True, 0)], "thinking cost nothing"),
    ],
)
def test_what_cannot_be_compared_is_refused(chosen: list[Tried], fixed: list[Tried], said: str) -> None:
    with pytest.raises(UserError, match=said):
        compare(chosen, fixed)


_outcomes = st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.booleans(), st.integers(1, 9)), min_size=1)


@settings(max_examples=40, deadline=None)
@given(_outcomes, st.data())
def test_nothing_that_is_right_where_the_best_modes_are_saves_more_than_they_do(
    tasks: list[tuple[bool, int, bool, int]], data: st.DataObject
) -> None:
    fixed = [
        row
        for place, (fast, cost, slow, more) in enumerate(tasks)
        for row in (Tried(str(place), "no_think", fast, cost), Tried(str(place), "think", slow, more))
    ]
    pairs = list(zip(fixed[::2], fixed[1::2], strict=True))
    chosen = []
    for fast, slow in pairs:
        right = [row for row in (fast, slow) if row.is_right] or [slow]
        chosen.append(data.draw(st.sampled_from(right)))
    found = compare(chosen, fixed)
    assert found.saving <= found.best_saving + 1e-9
    assert found.accuracy >= found.always_accuracy
    assert sum(found.confusion.values()) == len(tasks)
