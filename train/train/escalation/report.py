"""How good probabilities of escalation are on tasks that were held out.

Source: Arbitrage, arXiv:2512.05033 (rank correlation with the advantage and the accuracy of each label at one
threshold). Differs: every figure has an interval by task, and the calibration error and the reliability behind it are
added (there none is reported).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from orchestrator.learning.metrics import auc, bootstrapped, class_accuracy, ece, reliability, spearman

__all__ = ["measured", "rank"]

THRESHOLD = 0.5


def measured(
    probabilities: Sequence[float], labels: Sequence[int], advantages: Sequence[float], tasks: Sequence[str]
) -> dict[str, Any]:
    """Return the figures as plain data, what could not be told as null; all four have one entry per example."""
    found, truth, gain = np.array(probabilities), np.array(labels, dtype=bool), np.array(advantages)
    figures = {
        "base_rate": bootstrapped(tasks, lambda rows: float(truth[rows].mean())),
        "spearman": bootstrapped(tasks, lambda rows: spearman(found[rows], gain[rows])),
        "auc": bootstrapped(tasks, lambda rows: auc(found[rows], truth[rows])),
        "acc0": bootstrapped(tasks, lambda rows: class_accuracy(found[rows], truth[rows], THRESHOLD, False)),
        "acc1": bootstrapped(tasks, lambda rows: class_accuracy(found[rows], truth[rows], THRESHOLD, True)),
        "ece": bootstrapped(tasks, lambda rows: ece(found[rows], truth[rows])),
    }
    return {
        "rows": len(found),
        "tasks": len(set(tasks)),
        "threshold": THRESHOLD,
        **{name: [None if each != each else each for each in figure] for name, figure in figures.items()},
        "reliability": [each._asdict() for each in reliability(found, truth)],
    }


def rank(probabilities: Sequence[float], labels: Sequence[int], advantages: Sequence[float]) -> tuple[bool, float]:
    """Return what the best of several states has most of: both labels told better than by a coin, then the correlation.

    A state that says the same of every example comes last.
    """
    found, truth = np.array(probabilities), np.array(labels, dtype=bool)
    told = [class_accuracy(found, truth, THRESHOLD, label) for label in (False, True)]
    correlation = spearman(found, np.array(advantages))
    return min(told) > THRESHOLD, correlation if correlation == correlation else -1.0
