"""Intervals against published values and against a simulation that knows the truth."""

from __future__ import annotations

from math import isnan
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.intervals import apart, clustered, paired, paired_means, unpaired, wilson


@pytest.mark.parametrize(
    "hits, number, low, high",
    [  # R. G. Newcombe, Statistics in Medicine 17:857 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(hits: int, number: int, low: float, high: float) -> None:
    found = wilson(hits, number)
    assert found.value == hits / number
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_wilson_of_nothing_is_the_whole_range() -> None:
    value, low, high = wilson(0, 0)
    assert isnan(value) and (low, high) == (0, 1)


@given(st.integers(1, 2000), st.data())
def test_wilson_holds_its_value_and_mirrors(number: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, number))
    found, mirrored = wilson(hits, number), wilson(number - hits, number)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    assert mirrored.low == pytest.approx(1 - found.high)


@pytest.mark.parametrize(
    "both, ours, theirs, neither, value, low, high",
    [  # R. G. Newcombe, Statistics in Medicine 17:2635 (1998), table III, method 10
        (36, 12, 2, 0, 0.2, 0.0569, 0.3404),
        (0, 2, 12, 36, -0.2, -0.3404, -0.0569),
        (53, 0, 0, 1, 0.0, -0.0729, 0.0729),
    ],
)
def test_paired_as_published(
    both: int, ours: int, theirs: int, neither: int, value: float, low: float, high: float
) -> None:
    mine = [True] * (both + ours) + [False] * (theirs + neither)
    other = [True] * both + [False] * ours + [True] * theirs + [False] * neither
    found = paired(mine, other)
    assert found.value == pytest.approx(value)
    assert found.low == pytest.approx(low, abs=5e-4)
    assert found.high == pytest.approx(high, abs=5e-4)


def test_paired_of_nothing_is_the_whole_range() -> None:
    value, low, high = paired([], [])
    assert isnan(value) and (low, high) == (-1, 1)


@pytest.mark.parametrize("number", [1, 5, 50])
def test_paired_of_all_equal_reaches_as_far_as_either_share(number: int) -> None:
    for hit in (True, False):
        found = paired([hit] * number, [hit] * number)
        assert found.value == 0
        assert -found.low == found.high == pytest.approx(wilson(0, number).high)


def test_paired_of_all_different_reaches_the_end() -> None:
    found = paired([True] * 40, [False] * 40)
    assert (found.value, found.high) == (1, 1)
    assert 0.8 < found.low < 1


def test_paired_needs_the_same_tasks() -> None:
    with pytest.raises(ValueError):
        paired([True, False], [True])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=300))
def test_paired_turns_around_when_the_policies_swap(pairs: list[tuple[bool, bool]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    found, swapped = paired(ours, theirs), paired(theirs, ours)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert tuple(found) == pytest.approx((-swapped.value, -swapped.high, -swapped.low))


@pytest.mark.parametrize(
    "number, both, ours, theirs",
    [
        (100, 0.55, 0.05, 0.12),
        (100, 0.85, 0.05, 0.02),
        (200, 0.4, 0.15, 0.15),
        (400, 0.6, 0.0, 0.3),
        (30, 0.3, 0.3, 0.1),
    ],
)
def test_a_paired_interval_holds_the_truth_as_often_as_it_says(
    number: int, both: float, ours: float, theirs: float
) -> None:
    random, draws = Random(1), 1000
    cells = [(True, True), (True, False), (False, True), (False, False)]
    weights = [both, ours, theirs, 1 - both - ours - theirs]
    held = 0
    for _ in range(draws):
        pairs = random.choices(cells, weights, k=number)
        found = paired([a for a, _ in pairs], [b for _, b in pairs])
        held += found.low <= ours - theirs <= found.high
    assert held / draws >= 0.93


def test_an_interval_of_tasks_that_are_alike_is_never_narrower_and_as_wide_as_their_groups_make_it() -> None:
    ours, theirs = [True] * 90 + [False] * 10, [True] * 100
    alone = [str(place) for place in range(100)]
    assert clustered(ours, theirs, alone).low == pytest.approx(paired(ours, theirs).low, abs=0.02)
    together = [str(place // 10) for place in range(100)]  # all ten wrong ones are of one group
    found = clustered(ours, theirs, together)
    assert found.value == paired(ours, theirs).value
    assert found.low == pytest.approx(-0.1 - 1.959964 * 0.1)  # ten means, one of them -1: their deviation is 0.316
    assert clustered(ours, theirs, ["one"] * 100) == (found.value, -1, 1)


def test_a_difference_of_shares_over_different_tasks_is_newcombes() -> None:
    found = unpaired([True] * 56 + [False] * 14, [True] * 48 + [False] * 32)  # his example: 0.2, 0.0524 to 0.3339
    assert [round(each, 4) for each in found] == [0.2, 0.0524, 0.3339]
    assert unpaired([], [True])[1:] == (-1.0, 1.0)


def test_a_difference_of_means_has_no_bounds_without_two_of_each() -> None:
    assert apart([1.0, 3.0], [0.0, 2.0]).value == 1.0
    low, high = apart([1.0, 3.0] * 50, [0.0, 2.0] * 50)[1:]
    assert low == pytest.approx(1 - 1.96 * 0.1421, abs=1e-3) and high == pytest.approx(2 - low)
    assert apart([1.0], [0.0, 2.0])[1:] == (float("-inf"), float("inf"))


def test_means_of_the_same_tasks_are_as_sure_as_their_differences_are_alike() -> None:
    ours = [12.0, 105.0, 51.0, 8.0]
    assert paired_means(ours, [each - 3 for each in ours]) == (3, 3, 3)
    value, low, high = paired_means([1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 0.0])
    assert value == 3 and round(high - value, 4) == round(value - low, 4) == round(1.959964 * (14 / 3 / 4) ** 0.5, 4)


def test_means_of_one_task_or_none_have_no_bounds() -> None:
    assert paired_means([5.0], [3.0]) == (2, float("-inf"), float("inf"))
    value, low, high = paired_means([], [])
    assert isnan(value) and (low, high) == (float("-inf"), float("inf"))


def test_means_over_the_same_tasks_cover_the_truth_as_often_as_they_say() -> None:
    random, hits = Random(3), 0
    for _ in range(400):
        hard = [random.uniform(10, 200) for _ in range(40)]
        ours = [each + random.gauss(5, 10) for each in hard]
        _, low, high = paired_means(ours, hard)
        hits += low <= 5 <= high
    assert 0.91 <= hits / 400 <= 0.98
