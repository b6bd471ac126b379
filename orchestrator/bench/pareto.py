"""Accuracy against cost: which settings are worth having, and what an accuracy costs at the least.

Between two settings lies every mixture of them: running one on a share of the tasks, drawn at random,
and the other on the rest. So the front is the upper hull of the points, and what an accuracy costs
is read off it, not off one lucky threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

__all__ = ["Mixture", "Point", "cheapest", "front"]


class Point(NamedTuple):
    """A setting."""

    cost: float
    accuracy: float
    label: str = ""


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other point and no mixture of two others beats, by cost."""
    best: list[Point] = []
    for point in sorted(points, key=lambda each: (each.cost, -each.accuracy)):
        if best and point.accuracy <= best[-1].accuracy:
            continue
        while len(best) > 1 and _is_below(best[-1], best[-2], point):
            best.pop()
        best.append(point)
    return best


def _is_below(middle: Point, left: Point, right: Point) -> bool:
    run, rise = right.cost - left.cost, right.accuracy - left.accuracy
    return (middle.accuracy - left.accuracy) * run <= rise * (middle.cost - left.cost)


class Mixture(NamedTuple):
    """One setting, or two of which the second runs on a share of the tasks."""

    cost: float
    first: int
    second: int
    share: float


def cheapest(points: Sequence[Point], accuracy: float) -> Mixture | None:
    """Return the cheapest of these points and of mixtures of two that reaches `accuracy`; None if none does.

    Points are named by their places.
    """
    found = [Mixture(point.cost, place, place, 0.0) for place, point in enumerate(points) if point.accuracy >= accuracy]
    for one, other in combinations(range(len(points)), 2):
        low, high = sorted((one, other), key=lambda each: points[each].accuracy)
        below, above = points[low], points[high]
        if below.accuracy < accuracy < above.accuracy:
            share = (accuracy - below.accuracy) / (above.accuracy - below.accuracy)
            found.append(Mixture(below.cost + share * (above.cost - below.cost), low, high, share))
    return min(found, default=None)
