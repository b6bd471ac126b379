"""Intervals for shares, and for differences of two shares that were measured on the same tasks."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, variance
from typing import NamedTuple

from orchestrator.conformal import at_most

__all__ = ["ONE_SIDED", "Interval", "Z", "apart", "clustered", "paired", "paired_means", "unpaired", "upper", "wilson"]

Z = 1.959963984540054
"""Two-sided 95%."""
ONE_SIDED = 1.6448536269514722
"""One-sided 95%: either end of such an interval is passed by chance once in twenty."""


class Interval(NamedTuple):
    """A measured value with its 95% interval."""

    value: float
    low: float
    high: float


def wilson(hits: float, number: int, z: float = Z) -> Interval:
    """Return the share hits / number with Wilson's score interval; the whole range for no observation.

    `z` is the normal quantile that the ends stand at.

    Source: E. B. Wilson, 1927.
    """
    if not number:
        return Interval(float("nan"), 0.0, 1.0)
    share = hits / number
    centre = (share + z * z / (2 * number)) / (1 + z * z / number)
    reach = z * sqrt(share * (1 - share) / number + z * z / (4 * number * number)) / (1 + z * z / number)
    return Interval(share, min(share, max(0.0, centre - reach)), max(share, min(1.0, centre + reach)))


def upper(hits: int, number: int, confidence: float = 0.95) -> float:
    """Return the upper end of the one-sided interval of the share hits / number; 1 for no observation.

    The largest chance at which `hits` or fewer are seen with probability 1 - confidence.

    Source: C. J. Clopper and E. S. Pearson, 1934.
    """
    if hits >= number:
        return 1.0
    low, high = hits / number, 1.0
    for _ in range(60):  # halvings: beyond what a float tells apart
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(hits, number, middle) > 1 - confidence else (low, middle)
    return high


def paired(ours: Sequence[bool], theirs: Sequence[bool], z: float = Z) -> Interval:
    """Return the difference of two shares, ours less theirs, over the same tasks in the same order.

    Source: R. G. Newcombe, 1998 (Statistics in Medicine 17:2635), method 10.
    """
    number = len(ours)
    if not number:
        return Interval(float("nan"), -1.0, 1.0)
    both = sum(a and b for a, b in zip(ours, theirs, strict=True))
    first, second = sum(ours), sum(theirs)
    a, b = wilson(first, number, z), wilson(second, number, z)
    phi = _phi(both, first - both, second - both, number - first - second + both, number)
    down, up = (a.value - a.low, b.high - b.value), (a.high - a.value, b.value - b.low)
    difference = a.value - b.value
    return Interval(difference, max(-1.0, difference - _reach(*down, phi)), min(1.0, difference + _reach(*up, phi)))


def unpaired(ours: Sequence[float], theirs: Sequence[float], z: float = Z) -> Interval:
    """Return the difference of two shares, ours less theirs, over different tasks; each is 0 or 1, or a mean of such,
    for which the interval is at least as wide as it has to be.

    Source: R. G. Newcombe, 1998 (Statistics in Medicine 17:873), method 10.
    """
    if not ours or not theirs:
        return Interval(float("nan"), -1.0, 1.0)
    a, b = wilson(sum(ours), len(ours), z), wilson(sum(theirs), len(theirs), z)
    difference = a.value - b.value
    down, up = _reach(a.value - a.low, b.high - b.value, 0.0), _reach(a.high - a.value, b.value - b.low, 0.0)
    return Interval(difference, max(-1.0, difference - down), min(1.0, difference + up))


def apart(ours: Sequence[float], theirs: Sequence[float], z: float = Z) -> Interval:
    """Return the difference of two means, ours less theirs, over different tasks; without bounds for fewer than two
    of either.

    Source: B. L. Welch, 1938, with the normal quantile.
    """
    if min(len(ours), len(theirs)) < 2:
        return Interval(float("nan"), float("-inf"), float("inf"))
    difference = fmean(ours) - fmean(theirs)
    reach = z * sqrt(variance(ours) / len(ours) + variance(theirs) / len(theirs))
    return Interval(difference, difference - reach, difference + reach)


def paired_means(ours: Sequence[float], theirs: Sequence[float], z: float = Z) -> Interval:
    """Return the difference of two means, ours less theirs, over the same tasks in the same order; without bounds for
    fewer than two, and a point where all tasks differ by the same.

    Source: the paired t interval (Student, 1908), with the normal quantile.
    """
    each = [a - b for a, b in zip(ours, theirs, strict=True)]
    if len(each) < 2:
        return Interval(fmean(each) if each else float("nan"), float("-inf"), float("inf"))
    difference, reach = fmean(each), z * sqrt(variance(each) / len(each))
    return Interval(difference, difference - reach, difference + reach)


def clustered(ours: Sequence[bool], theirs: Sequence[bool], groups: Sequence[str], z: float = Z) -> Interval:
    """Return `paired` of tasks of which some are alike, such as wordings of one expression: never narrower than that,
    and wider where the tasks of a group differ together.

    Source: the variance of a mean by clusters (K.-Y. Liang and S. L. Zeger, 1986), groups less one in the denominator.
    """
    found = paired(ours, theirs, z)
    apart: dict[str, float] = {}
    for group, a, b in zip(groups, ours, theirs, strict=True):
        apart[group] = apart.get(group, 0.0) + a - b - found.value
    if len(apart) < 2:
        return Interval(found.value, -1.0, 1.0)
    spread = sum(each * each for each in apart.values()) * len(apart) / (len(apart) - 1)
    reach = z * sqrt(spread) / len(ours)
    return Interval(found.value, min(found.low, found.value - reach), max(found.high, found.value + reach))


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
