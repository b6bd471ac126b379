"""What showing a behavior does: runs that were shown it held against runs that would have been, and were shown nothing.

Which runs are shown nothing is drawn by their seeds, so both kinds are asked alike and the difference is the doing of
what was shown. A run is shown several behaviors at once: what is measured is theirs together, over the runs that had
this one among them.

Source: none; the design is a randomised controlled trial. The published numbers of Metacognitive Reuse and ACE compare
handbooks, not behaviors, and without intervals.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from orchestrator.intervals import Interval, apart, unpaired

__all__ = ["Effect", "Trial", "effect_of"]


class Trial(NamedTuple):
    """One run that recalled behaviors, or would have."""

    ids: tuple[int, ...]
    """What was shown, or would have been."""
    is_withheld: bool
    is_right: bool | None
    """None where nobody knows."""
    output_tokens: int
    prompt_tokens: int


class Effect(NamedTuple):
    """What was measured of one behavior; every difference is shown less withheld."""

    shown: int
    """Runs with a known outcome; likewise below."""
    withheld: int
    right: Interval
    """Share of right answers."""
    output_tokens: Interval
    prompt_tokens: Interval


def effect_of(id: int, trials: Iterable[Trial]) -> Effect:
    """Return what showing behavior `id` did, over the runs that had it among theirs and whose outcome is known."""
    known = [each for each in trials if id in each.ids and each.is_right is not None]
    shown, held = ([each for each in known if each.is_withheld is is_withheld] for is_withheld in (False, True))
    return Effect(
        len(shown),
        len(held),
        unpaired([bool(each.is_right) for each in shown], [bool(each.is_right) for each in held]),
        apart([each.output_tokens for each in shown], [each.output_tokens for each in held]),
        apart([each.prompt_tokens for each in shown], [each.prompt_tokens for each in held]),
    )
