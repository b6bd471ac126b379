"""Where two runs part: the first step at which they tried different things, or kept different ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from orchestrator.memory.base import StoredRun
from orchestrator.runtime.attempts import OBSERVED, Attempt
from orchestrator.runtime.timeline import candidates

__all__ = ["Parting", "parting"]

Forked = Sequence[StoredRun]

_STANDS = ("kept", "inherited", OBSERVED)


class Parting(NamedTuple):
    """Where two runs part."""

    step: int
    """Index of the first step at which they tried different things."""
    why: str


def parting(left: StoredRun, right: StoredRun, ours: Forked = (), theirs: Forked = ()) -> Parting | None:
    """Return where two runs part, None where they tried the same and kept the same.

    `ours` and `theirs` are the runs that each was forked from, oldest first. Of a step that a fork began with only what
    stands is compared: what else was tried for it is another run's.
    """
    for step, (one, two) in enumerate(zip_longest(_by_step(left, ours), _by_step(right, theirs))):
        if one is None or two is None:
            return Parting(step, f"only run {(right if one is None else left).run.id} goes on")
        a, b = _standing(one), _standing(two)
        is_begun_with = any(each.origin for each in (*one, *two))
        if a == b and (is_begun_with or [*map(_tried, one)] == [*map(_tried, two)]):
            continue
        if a == b:
            return Parting(step, "the same step is kept, after other candidates")
        if a and b and a[1] == b[1]:
            return Parting(step, f"the same words are kept, by {a[0]} and by {b[0]}")
        return Parting(step, "another step is kept")
    return None


def _by_step(stored: StoredRun, ancestors: Forked) -> list[list[Attempt]]:
    steps: dict[int, list[Attempt]] = {}
    for each in candidates(stored, ancestors):
        steps.setdefault(each.step, []).append(each)
    return [steps.get(step, []) for step in range(max(steps, default=-1) + 1)]


def _standing(tries: Sequence[Attempt]) -> tuple[str, str] | None:
    """Return writer and text of what stands, None where nothing does."""
    return next(((each.writer, each.text) for each in tries if each.verdict in _STANDS), None)


def _tried(each: Attempt) -> tuple[str, str, str]:
    return each.writer, each.verdict, each.text
