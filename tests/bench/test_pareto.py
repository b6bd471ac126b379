"""The front and what an accuracy costs on it, by hand and by property."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bench.pareto import Point, cheapest, front

SMALL, MIDDLE, LARGE = Point(1, 0.2, "small"), Point(3, 0.8, "middle"), Point(10, 0.9, "large")
WORSE = Point(6, 0.7, "worse")
BENEATH = Point(2, 0.3, "beneath")

points = st.lists(st.builds(Point, st.integers(0, 50), st.integers(0, 20).map(lambda hits: hits / 20)), min_size=1)


def test_the_front_leaves_out_what_a_point_or_a_mixture_beats() -> None:
    assert front([LARGE, WORSE, BENEATH, SMALL, MIDDLE]) == [SMALL, MIDDLE, LARGE]


def test_the_front_of_equal_costs_is_the_best_of_them() -> None:
    assert front([Point(1, 0.2), Point(1, 0.5), Point(1, 0.4)]) == [Point(1, 0.5)]


def test_a_point_between_two_others_on_their_line_is_left_out() -> None:
    assert front([Point(0, 0), Point(1, 0.5), Point(2, 1)]) == [Point(0, 0), Point(2, 1)]


def test_no_points_have_no_front_and_no_cost() -> None:
    assert front([]) == []
    assert cheapest([], 0.5) is None


@pytest.mark.parametrize(
    "accuracy, cost",
    [(0.0, 1), (0.2, 1), (0.5, 2), (0.8, 3), (0.85, 6.5), (0.9, 10), (0.91, None)],
)
def test_the_cheapest_way_to_an_accuracy(accuracy: float, cost: float | None) -> None:
    found = cheapest([LARGE, WORSE, SMALL, MIDDLE], accuracy)
    assert (found and found.cost) == (None if cost is None else pytest.approx(cost))


@given(points, st.integers(0, 20).map(lambda hits: hits / 20))
def test_the_cheapest_is_never_above_a_point_that_reaches_the_accuracy(found: list[Point], accuracy: float) -> None:
    least = cheapest(found, accuracy)
    reaching = [point.cost for point in found if point.accuracy >= accuracy]
    assert (least is None) == (not reaching)
    assert least is None or least.cost <= min(reaching)


@given(points, st.integers(0, 20).map(lambda hits: hits / 20))
def test_only_the_front_matters_to_the_cheapest(found: list[Point], accuracy: float) -> None:
    least, on_front = cheapest(found, accuracy), cheapest(front(found), accuracy)
    assert (on_front and on_front.cost) == (None if least is None else pytest.approx(least.cost))


@given(points, st.floats(0, 1))
def test_a_mixture_of_two_points_lies_on_the_segment_between_them(found: list[Point], share: float) -> None:
    low, high = Point(1, 0.25), Point(5, 0.75)
    accuracy = low.accuracy + share * (high.accuracy - low.accuracy)
    mixture = cheapest([low, high], accuracy)
    assert mixture is not None
    assert mixture.cost == pytest.approx(low.cost + share * (high.cost - low.cost))
    weights = (1 - mixture.share, mixture.share) if mixture.first != mixture.second else (1.0, 0.0)
    pair = [[low, high][mixture.first], [low, high][mixture.second]]
    assert sum(weight * each.accuracy for weight, each in zip(weights, pair, strict=True)) >= accuracy - 1e-9


@given(points)
def test_the_front_rises_and_flattens(found: list[Point]) -> None:
    best = front(found)
    slopes = []
    for left, right in pairwise(best):
        assert left.cost < right.cost and left.accuracy < right.accuracy
        slopes.append((right.accuracy - left.accuracy) / (right.cost - left.cost))
    assert all(one > other - 1e-12 for one, other in pairwise(slopes))
