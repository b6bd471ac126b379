"""Intervals for shares, and for differences of two shares that were measured on the same tasks."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

__all__ = ["Interval", "paired", "wilson"]

Z = 1.959963984540054
"""Two-sided 95%."""


class Interval(NamedTuple):
    """A measured value with its 95% interval."""

    value: float
    low: float
    high: float


def wilson(hits: float, number: int) -> Interval:
    """Return the share hits / number with Wilson's score interval; the whole range for no observation.

    Source: E. B. Wilson, 1927.
    """
    if not number:
        return Interval(float("nan"), 0.0, 1.0)
    share = hits / number
    centre = (share + Z * Z / (2 * number)) / (1 + Z * Z / number)
    reach = Z * sqrt(share * (1 - share) / number + Z * Z / (4 * number * number)) / (1 + Z * Z / number)
    return Interval(share, min(share, max(0.0, centre - reach)), max(share, min(1.0, centre + reach)))


def paired(ours: Sequence[bool], theirs: Sequence[bool]) -> Interval:
    """Return the difference of two shares, ours less theirs, over the same tasks in the same order.

    Source: R. G. Newcombe, 1998 (Statistics in Medicine 17:2635), method 10.
    """
    number = len(ours)
    if not number:
        return Interval(float("nan"), -1.0, 1.0)
    both = sum(a and b for a, b in zip(ours, theirs, strict=True))
    first, second = sum(ours), sum(theirs)
    a, b = wilson(first, number), wilson(second, number)
    phi = _phi(both, first - both, second - both, number - first - second + both, number)
    down, up = (a.value - a.low, b.high - b.value), (a.high - a.value, b.value - b.low)
    difference = a.value - b.value
    return Interval(difference, max(-1.0, difference - _reach(*down, phi)), min(1.0, difference + _reach(*up, phi)))


def _reach(ours: float, theirs: float, phi: float) -> float:
    return sqrt(max(0.0, ours * ours - 2 * phi * ours * theirs + theirs * theirs))


def _phi(both: int, only_ours: int, only_theirs: int, neither: int, number: int) -> float:
    product = (both + only_ours) * (only_theirs + neither) * (both + only_theirs) * (only_ours + neither)
    if not product:
        return 0.0
    surplus: float = both * neither - only_ours * only_theirs
    if surplus > 0:
        surplus = max(0.0, surplus - number / 2)  # the continuity correction
    return surplus / sqrt(product)
