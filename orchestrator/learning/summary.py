"""What collected steps hold: how often the large engine is better, how often a draft is wrong, and what that wastes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from orchestrator.learning.metrics import Figure, bootstrapped
from orchestrator.learning.rows import Row

__all__ = ["Counts", "Summary", "counting", "exact_first"]

WRONG = 0.5
"""A step with a lower score counts as wrong."""
EXACT = "verifier"
"""The scorer that a workload brings: its word is a check, and everybody else's an opinion."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a collection holds."""

    steps: int
    tasks: int
    better: Figure
    """Share of the steps where the large engine was strictly better: what an oracle would send it."""
    wrong: Figure
    """Share of the drafts that are wrong."""
    both_wrong: Figure
    """Share of the wrong drafts where the large engine was wrong, too: what sending all of them would waste."""


class _Counted(NamedTuple):
    task: str
    is_better: bool
    is_wrong: bool
    target_wrong: float


class Counts:
    """Rows counted while they pass by, by the word of one scorer: of whoever labels them, or of another `scorer`."""

    def __init__(self, scorer: str = "") -> None:
        self._scorer = scorer
        self._found: list[_Counted] = []

    def add(self, row: Row) -> None:
        """Count a row; one that the other scorer did not score is left out."""
        if counted := _counted(row, self._scorer):
            self._found.append(counted)

    def summary(self) -> Summary:
        """Return what the rows hold, with intervals by task; every figure of no row is NaN."""
        found = self._found
        tasks = [each.task for each in found]
        better, wrong, target_wrong = (np.array([each[place] for each in found], dtype=float) for place in (1, 2, 3))

        def among_wrong(drawn: Any) -> float:
            total = wrong[drawn].sum()
            return float((wrong[drawn] * target_wrong[drawn]).sum() / total) if total else float("nan")

        nothing = Figure(float("nan"), float("nan"), float("nan"))
        return Summary(
            steps=len(found),
            tasks=len(set(tasks)),
            better=bootstrapped(tasks, lambda drawn: float(better[drawn].mean())) if found else nothing,
            wrong=bootstrapped(tasks, lambda drawn: float(wrong[drawn].mean())) if found else nothing,
            both_wrong=bootstrapped(tasks, among_wrong) if found else nothing,
        )


def counting(rows: Iterable[Row], counts: Iterable[Counts]) -> Iterator[Row]:
    """Yield the rows, and count each."""
    for row in rows:
        for each in counts:
            each.add(row)
        yield row


def exact_first(scorers: Iterable[str]) -> list[str]:
    """Return the scorers with the exact check in front: which steps are wrong is its to say where there is one."""
    return sorted(scorers, key=lambda name: name != EXACT)


def _counted(row: Row, scorer: str) -> _Counted | None:
    scored = [(row.score, row.also), *((target.score, target.also) for target in row.targets)]
    if scorer and not all(scorer in also for _, also in scored):
        return None
    ours, *theirs = [also[scorer] if scorer else score for score, also in scored]
    advantage = sum(each - ours for each in theirs)
    wrong = sum(each < WRONG for each in theirs) / len(theirs)
    return _Counted(row.task, advantage > 0, ours < WRONG, wrong)
