"""A threshold with a guarantee, for any score: conformal risk control.

It speaks of the next task that is exchangeable with those at hand, on average over what could have been at hand, and
whatever the score is worth: a bad score gives a threshold that accepts next to nothing.

Source: "Conformal Risk Control", arXiv:2208.02814, with losses in [0, 1]. Differs: where there are too few tasks for a
level, it is refused with the number that is needed; the threshold is one of the scores seen, the least that will do,
where the infimum would be anything down to the score below it (a higher one accepts less and keeps the guarantee).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isfinite
from typing import NamedTuple

from orchestrator.conformal import exact, least_points
from orchestrator.errors import UserError

__all__ = ["Scored", "losses", "threshold"]


class Scored(NamedTuple):
    """One drafted step of a task."""

    score: float
    """Higher is better; the step is accepted at every threshold up to it."""
    is_bad: bool
    """Accepting it would be a mistake."""


def threshold(tasks: Sequence[Sequence[Scored]], alpha: float) -> float | None:
    """Return the least score seen that as a threshold keeps the expected loss of a new task at `alpha` or below.

    None if only accepting nothing does. The loss of a task is the share of its drafted steps that are accepted
    and bad: in [0, 1], and never more at a higher threshold, which the share among the accepted ones is not.
    Tasks are the exchangeable units, not steps. Raises UserError for fewer than `least_points` tasks.
    """
    _check_number(len(tasks), alpha)
    _check_scores([step.score for task in tasks for step in task])
    mistakes: dict[float, Fraction] = {}
    for task in tasks:
        for step in task:
            mistakes[step.score] = mistakes.get(step.score, Fraction(0)) + Fraction(step.is_bad, len(task))
    loss = sum(mistakes.values(), Fraction(0))
    for score in sorted(mistakes):
        if (loss + 1) / (len(tasks) + 1) <= exact(alpha):
            return score
        loss -= mistakes[score]
    return None


def losses(tasks: Sequence[Sequence[Scored]], at: float) -> list[Fraction]:
    """Return each task's share of steps that are accepted at a threshold and bad; 0 for a task without steps."""
    return [
        Fraction(sum(step.is_bad and step.score >= at for step in task), len(task)) if task else Fraction(0)
        for task in tasks
    ]


def _check_number(number: int, level: float) -> None:
    if number < (needed := least_points(level)):
        raise UserError(f"a level of {level!r} needs at least {needed} tasks; there are {number}")


def _check_scores(scores: Sequence[float]) -> None:
    if wrong := next((score for score in scores if not isfinite(score)), None):
        raise UserError(f"{wrong!r} is no score: a threshold cannot be chosen by it")
