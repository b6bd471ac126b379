"""Where do two runs part: at the first step where they decided, kept or tried different things?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple

from orchestrator.memory.base import DecisionRow, StoredRun
from orchestrator.runtime.fork import inherited
from orchestrator.runtime.timeline import candidates

__all__ = ["Divergence", "decisions_of", "is_other", "parting"]

Forked = Sequence[StoredRun]
Door = tuple[int, int, str]
"""Step, attempt and door of a decision."""


class Divergence(NamedTuple):
    """The first step at which two runs are not alike."""

    step: int
    what: str
    """`decision`, `text` or `writer` of what is kept, `length` where one run has the step and the other has not, or
    `candidates` where the same is kept after other tries."""
    ours: str
    """Of the first run; empty where it has none."""
    theirs: str

    @property
    def why(self) -> str:
        """The same as half a sentence."""
        return {
            "decision": f"{self.ours or 'nothing'} is decided in the first, {self.theirs or 'nothing'} in the second",
            "text": "another step is kept",
            "writer": f"the same words are kept, by {self.ours} and by {self.theirs}",
            "length": f"only the {'first' if self.ours else 'second'} run goes on",
            "candidates": "the same step is kept, after other candidates",
        }[self.what]


def parting(left: StoredRun, right: StoredRun, ours: Forked = (), theirs: Forked = ()) -> Divergence | None:
    """Return where two runs part, None where they decided, tried and kept the same.

    `ours` and `theirs` are the runs that each was forked from, oldest first. Of a step that a fork began with only
    what stands and what was decided is compared: what else was tried for it is another run's.
    """
    found = [
        next(each, None)
        for each in (
            _ends(left, right),
            _decided(decisions_of(left, ours), decisions_of(right, theirs)),
            _kept(left, right),
            _tried(left, right),
        )
    ]
    return min((each for each in found if each is not None), key=lambda each: each.step, default=None)


def decisions_of(stored: StoredRun, ancestors: Forked = ()) -> dict[Door, DecisionRow]:
    """Return what was decided on the way to where a run is: of what a fork began with, that is its ancestors'."""
    found: dict[Door, DecisionRow] = {}
    for each, child in pairwise([*ancestors, stored]):
        found |= {row[1:4]: row for row in each.decisions}
        found = {door: row for door, row in found.items() if door[0] < len(inherited(child))}
    return found | {row[1:4]: row for row in stored.decisions}


def is_other(door: Door, ours: DecisionRow | None, theirs: DecisionRow | None) -> bool:
    """Return whether something else was done, and not only by other numbers; a plan that told nothing new is not
    stored, so one that is missing is no other one."""
    if door[2] == "before_step" and (ours is None or theirs is None):
        return False
    return (ours and (ours.action, ours.engine)) != (theirs and (theirs.action, theirs.engine))


def _decided(ours: Mapping[Door, DecisionRow], theirs: Mapping[Door, DecisionRow]) -> Iterator[Divergence]:
    for door in sorted({*ours, *theirs}, key=lambda door: door[:2]):
        pair = ours.get(door), theirs.get(door)
        if is_other(door, *pair):
            yield Divergence(door[0], "decision", *("" if row is None else _said(row) for row in pair))


def _said(row: DecisionRow) -> str:
    return f"{row.action} {row.engine}".strip()


def _ends(left: StoredRun, right: StoredRun) -> Iterator[Divergence]:
    ours, theirs = left.kept(), right.kept()
    if len(ours) != len(theirs):
        step = min(len(ours), len(theirs))
        yield Divergence(step, "length", *(rows[step].text if step < len(rows) else "" for rows in (ours, theirs)))


def _kept(left: StoredRun, right: StoredRun) -> Iterator[Divergence]:
    for mine, other in zip(left.kept(), right.kept(), strict=False):
        for what in ("text", "writer"):
            if getattr(mine, what) != getattr(other, what):
                yield Divergence(mine.step, what, getattr(mine, what), getattr(other, what))


def _tried(left: StoredRun, right: StoredRun) -> Iterator[Divergence]:
    ours, theirs = _by_step(left), _by_step(right)
    begun_with = max(len(inherited(left)), len(inherited(right)))
    for step in range(begun_with, max([*ours, *theirs], default=-1) + 1):
        mine, other = ours.get(step, []), theirs.get(step, [])
        if mine != other:
            first = next(pair for pair in zip_longest(mine, other, fillvalue=("", "", "")) if pair[0] != pair[1])
            yield Divergence(step, "candidates", *(f"{writer} {verdict}".strip() for writer, verdict, _ in first))


def _by_step(stored: StoredRun) -> dict[int, list[tuple[str, str, str]]]:
    """Return what a run itself tried, by step: who wrote what, and what came of it."""
    steps: dict[int, list[tuple[str, str, str]]] = {}
    for each in candidates(stored):
        steps.setdefault(each.step, []).append((each.writer, each.verdict, each.text))
    return steps
