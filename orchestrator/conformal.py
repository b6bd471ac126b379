"""Split conformal thresholds: what has to be passed so that a mistake on the next point is as rare as was asked for.

They speak of a next point that is exchangeable with those at hand, whatever the score is worth: a bad score gives a
threshold that next to nothing passes. The guarantee is marginal, an average over what could have been at hand; with a
`confidence` it holds for all but so few of the draws of what is at hand.

Source: split conformal prediction (Vovk, Gammerman and Shafer, 2005), as LYNX chooses exits by, arXiv:2512.05325; the
training-conditional rank from the Beta distribution of the coverage (V. Vovk, 2012). Differs from LYNX's code: where
there are too few points for a level it is refused with the number that is needed (there the rank is clipped, and the
level no longer holds); scores are compared as they are, without taking them from 1, which changes nothing; there is no
second quantile for right answers, because nothing is promised of how many of them are passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, exp, floor, inf, lgamma, log, log1p, nextafter

from orchestrator.errors import UserError

__all__ = ["above", "at_most", "exact", "least_points", "quantile", "rank"]


def quantile(values: Sequence[float], level: float, confidence: float | None = None) -> float:
    """Return the value at the `rank` for a level, smallest first: the next one is above it with chance `level` at most.

    There is one value a task, which may be infinite. Raises UserError for too few of them, and for one that is NaN.
    """
    if any(value != value for value in values):
        raise UserError("nan is no score: a threshold cannot be chosen by it")
    needed = least_points(level, confidence)
    if len(values) < needed:
        sure = "" if confidence is None else f" with confidence {confidence!r}"
        raise UserError(f"a level of {level!r}{sure} needs at least {needed} tasks; there are {len(values)}")
    return sorted(values)[rank(len(values), level, confidence) - 1]


def above(value: float) -> float:
    """Return the least number above a value; minus infinity stays as it is, because every score passes that."""
    return value if value == -inf else nextafter(value, inf)


def rank(number: int, level: float, confidence: float | None = None) -> int:
    """Return which of `number` sorted values bounds the next one at a level, from 1; `number` + 1 where none does.

    Without a confidence that is ceil((number + 1)(1 - level)). With one it is the least rank whose coverage, which is
    Beta(rank, number + 1 - rank), is 1 - level or more with that confidence.
    """
    if confidence is None:
        return min(number + 1, ceil((number + 1) * (1 - exact(level))))
    _check_confidence(confidence)
    kept = 1 - float(exact(level))
    total = 0.0
    for hits in range(number):
        total += _chance(hits, number, kept)
        if total >= confidence:
            return hits + 1
    return number + 1


def least_points(level: float, confidence: float | None = None) -> int:
    """Return how many points a level, in (0, 1), needs at least; 1 / level, less one, rounded up without a confidence.

    With one, the largest of so many has to do: 1 - (1 - level)^number is that or more.
    """
    if confidence is None:
        return ceil(1 / exact(level)) - 1
    _check_confidence(confidence)
    number = max(1, floor(log1p(-confidence) / log1p(-float(exact(level)))))
    while rank(number, level, confidence) > number:
        number += 1
    return number


def exact(level: float) -> Fraction:
    """Return a level as it was written: 0.05 is a twentieth, which its nearest binary number is not."""
    if not 0 < level < 1:
        raise UserError(f"a level of {level!r} is none: give a number between 0 and 1, both left out")
    return Fraction(repr(float(level)))


def at_most(hits: int, number: int, chance: float) -> float:
    """Return the probability of `hits` or fewer in `number` independent tries, each with `chance` in [0, 1]."""
    return min(1.0, sum(_chance(each, number, chance) for each in range(min(hits, number) + 1)))


def _chance(hits: int, number: int, chance: float) -> float:
    if chance in (0, 1):
        return float(hits == number * chance)
    ways = lgamma(number + 1) - lgamma(hits + 1) - lgamma(number - hits + 1)
    return exp(ways + hits * log(chance) + (number - hits) * log1p(-chance))


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise UserError(f"a confidence of {confidence!r} is none: give a number between 0 and 1, both left out")
