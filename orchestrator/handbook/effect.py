"""What showing a behavior does: runs that were shown it held against runs that would have been, and were shown nothing.

Which runs are shown nothing is drawn by their seeds, so both kinds are asked alike and the difference is the doing of
what was shown. A run is shown several behaviors at once: what is measured so is theirs together, over the runs that had
this one among them, and one that harms looks like a help beside a stronger one that helps. Its own effect is measured
where each behavior is left out by a lot of its own: then the others are there as often with it as without.

The lot falls once for a question, however often that is asked, and answers to one question are alike: so each question
counts once on a side, with the mean of its runs there. Else ten runs of twelve questions would pass for 120.

Source: none; the designs are a randomised controlled trial and a factorial one. The published numbers of Metacognitive
Reuse and ACE compare handbooks, not behaviors, and without intervals.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

from orchestrator.intervals import Interval, apart, unpaired

__all__ = ["Effect", "Trial", "effect_of", "own_effect_of"]


class Trial(NamedTuple):
    """One run that recalled behaviors, or would have."""

    task: str
    """Names what was asked."""
    ids: tuple[int, ...]
    """What was shown, or would have been."""
    left_out: tuple[int, ...]
    """Those of them that were left out by lot."""
    is_withheld: bool
    """Whether nothing was shown at all."""
    is_right: bool | None
    """None where nobody knows."""
    output_tokens: int
    prompt_tokens: int


class Effect(NamedTuple):
    """What was measured of one behavior; every difference is shown less withheld, or less left out."""

    shown: int
    """Questions, by their runs with a known outcome; likewise below. One can be on both sides, by another seed."""
    withheld: int
    right: Interval
    """Share of right answers."""
    output_tokens: Interval
    prompt_tokens: Interval


def effect_of(id: int, trials: Iterable[Trial]) -> Effect:
    """Return what showing behavior `id` and those beside it did, against showing nothing."""
    known = [each for each in trials if _tells(id, each) and (each.is_withheld or id not in each.left_out)]
    return _held_apart((each.is_withheld, each) for each in known)


def own_effect_of(id: int, trials: Iterable[Trial]) -> Effect:
    """Return what showing behavior `id` did, against leaving it out of what was shown."""
    known = [each for each in trials if _tells(id, each) and not each.is_withheld]
    return _held_apart((id in each.left_out, each) for each in known)


def _tells(id: int, trial: Trial) -> bool:
    """Return whether a run had a behavior among its own, and its outcome is known."""
    return id in trial.ids and trial.is_right is not None


def _held_apart(trials: Iterable[tuple[bool, Trial]]) -> Effect:
    """Return the effect from trials, each with whether it was held back."""
    sides: dict[bool, dict[str, list[Trial]]] = {False: {}, True: {}}
    for is_held, trial in trials:
        sides[is_held].setdefault(trial.task, []).append(trial)
    shown, held = ([_mean(runs) for runs in sides[is_held].values()] for is_held in (False, True))
    return Effect(
        len(shown),
        len(held),
        unpaired([each.right for each in shown], [each.right for each in held]),
        apart([each.output_tokens for each in shown], [each.output_tokens for each in held]),
        apart([each.prompt_tokens for each in shown], [each.prompt_tokens for each in held]),
    )


class _Mean(NamedTuple):
    """What the runs of one question came to."""

    right: float
    output_tokens: float
    prompt_tokens: float


def _mean(runs: list[Trial]) -> _Mean:
    return _Mean(
        fmean(bool(each.is_right) for each in runs),
        fmean(each.output_tokens for each in runs),
        fmean(each.prompt_tokens for each in runs),
    )
