"""Where two runs part: the first step at which they tried different things, or kept different ones."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

from orchestrator.memory.base import StoredRun
from orchestrator.runtime.timeline import candidates

__all__ = ["Parting", "parting"]


class Parting(NamedTuple):
    """Where two runs part."""

    step: int
    """Index of the first step at which they tried different things."""
    why: str


def parting(left: StoredRun, right: StoredRun) -> Parting | None:
    """Return where two runs part, None where they tried the same and kept the same."""
    ours, theirs = _by_step(left), _by_step(right)
    for step, (one, two) in enumerate(zip_longest(ours, theirs)):
        if one == two:
            continue
        if one is None or two is None:
            return Parting(step, f"only run {(right if one is None else left).run.id} goes on")
        (a, b) = (next((each for each in tries if each[1] == "kept"), None) for tries in (one, two))
        if a and b and a == b:
            return Parting(step, "the same step is kept, after other candidates")
        if a and b and a[2] == b[2]:
            return Parting(step, f"the same words are kept, by {a[0]} and by {b[0]}")
        return Parting(step, "another step is kept")
    return None


def _by_step(stored: StoredRun) -> list[list[tuple[str, str, str]]]:
    """Return what was tried for each step: writer, verdict and text."""
    steps: dict[int, list[tuple[str, str, str]]] = {}
    for each in candidates(stored):
        steps.setdefault(each.step, []).append((each.writer, each.verdict, each.text))
    return [steps.get(step, []) for step in range(max(steps, default=-1) + 1)]
