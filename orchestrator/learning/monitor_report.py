"""What a trained monitor is worth on tasks it was not fitted on: by its looks, and by whole runs.

A run is healthy if it succeeded, which nobody knows of one that was handed over; for `stuck` it also has no look that
is labelled so. A false alarm is a healthy run in which the monitor speaks at a look that is not labelled yes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.learning.looks import Watched
from orchestrator.learning.metrics import (
    Bools,
    Figure,
    Floats,
    auc,
    average_precision,
    bootstrapped,
    precision_recall_f1,
)

__all__ = ["FEW", "Judged", "lines", "measured"]

FEW = 100
"""Runs below which every figure is to be taken with its interval."""


@dataclass(frozen=True)
class Judged:
    """One run, with what the monitor says of each look at it."""

    task: str
    is_healthy: bool
    chances: Floats
    labels: Floats
    """1, 0, or NaN where nobody can say."""

    @classmethod
    def of(cls, kind: str, run: Watched, chances: Floats, labels: Floats) -> Judged:
        """Return a run beside what was said of it."""
        is_healthy = run.has_succeeded is True and (kind != "stuck" or not (labels == 1).any())
        return cls(run.task, is_healthy, chances, labels)

    @property
    def is_labelled(self) -> Bools:
        """For each look."""
        labelled: Bools = ~np.isnan(self.labels)
        return labelled

    @property
    def truth(self) -> Bools:
        """Of the labelled looks."""
        yes: Bools = self.labels[self.is_labelled] == 1
        return yes

    @property
    def highest_alarm(self) -> float:
        """The highest chance at a look that is not labelled yes; 0 without any."""
        return float(self.chances[self.labels != 1].max(initial=0.0))

    def speaks(self, threshold: float) -> bool:
        """Return whether the monitor speaks at all."""
        return bool((self.chances >= threshold).any())

    def catches(self, threshold: float) -> bool:
        """Return whether it speaks at a look that is labelled yes."""
        return bool((self.chances[self.labels == 1] >= threshold).any())


def measured(judged: Sequence[Judged], threshold: float) -> dict[str, Any]:
    """Return the figures at a threshold, each with its interval, by task.

    `trigger_rate` is the share of the runs in which it speaks, `false_alarms` that of the healthy ones, and
    `caught` that of the runs with a yes in which it speaks at one.
    """
    chances = np.concatenate([each.chances[each.is_labelled] for each in judged])
    truth = np.concatenate([each.truth for each in judged])
    tasks = [each.task for each in judged for _ in each.truth]
    found: dict[str, Any] = {
        "rows": len(tasks),
        "runs": len(judged),
        "tasks": len({each.task for each in judged}),
        "threshold": threshold,
        "base_rate": bootstrapped(tasks, lambda rows: float(truth[rows].mean())),
        "average_precision": bootstrapped(tasks, lambda rows: average_precision(chances[rows], truth[rows])),
        "auc": bootstrapped(tasks, lambda rows: auc(chances[rows], truth[rows])),
    }
    for place, name in enumerate(("precision", "recall", "f1")):

        def at_threshold(rows: NDArray[np.int64], place: int = place) -> float:
            return precision_recall_f1(chances[rows], truth[rows], threshold)[place]

        found[name] = bootstrapped(tasks, at_threshold)
    return {**found, **_by_run(judged, threshold)}


def _by_run(judged: Sequence[Judged], threshold: float) -> dict[str, Figure]:
    speaks = np.array([each.speaks(threshold) for each in judged], dtype=bool)
    alarms = np.array([each.highest_alarm >= threshold for each in judged], dtype=bool)
    catches = np.array([each.catches(threshold) for each in judged], dtype=bool)
    everyone = np.ones(len(judged), dtype=bool)
    is_healthy = np.array([each.is_healthy for each in judged], dtype=bool)
    has_yes = np.array([each.truth.any() for each in judged], dtype=bool)
    tasks = [each.task for each in judged]

    def share(of: Bools, among: Bools) -> Figure:
        def measure(rows: NDArray[np.int64]) -> float:
            chosen = of[rows][among[rows]]
            return float(chosen.mean()) if len(chosen) else float("nan")

        return bootstrapped(tasks, measure)

    return {
        "trigger_rate": share(speaks, everyone),
        "false_alarms": share(alarms, is_healthy),
        "caught": share(catches, has_yes),
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures, as a file holds them, as lines for people."""
    yield (
        f"held-out: {found['rows']} labelled moves in {found['runs']} runs of {found['tasks']} tasks, "
        "[95% intervals by task]"
    )
    for name, told in _TOLD.items():
        nan = float("nan")
        yield f"  {told:38} {Figure(*(nan if each is None else each for each in found[name]))}"


_TOLD = {
    "base_rate": "moves that are a yes (base rate)",
    "average_precision": "PR-AUC",
    "auc": "AUC",
    "f1": "F1 at the threshold",
    "precision": "precision",
    "recall": "recall",
    "trigger_rate": "runs in which it speaks",
    "caught": "of the runs with a yes, caught",
    "false_alarms": "of the healthy runs, false alarms",
}
