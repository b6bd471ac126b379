"""Which of several states of a training is kept.

Source: Arbitrage, arXiv:2512.05033 (the best rank correlation with the advantage on tasks that choose). Differs: among
states whose accuracy is above one half for both labels, where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from orchestrator.learning.metrics import class_accuracy, spearman

__all__ = ["rank"]

THRESHOLD = 0.5


def rank(probabilities: Sequence[float], labels: Sequence[int], advantages: Sequence[float]) -> tuple[bool, float]:
    """Return what the best of several states has most of: both labels told better than by a coin, then the correlation.

    A state that says the same of every example comes last.
    """
    found, truth = np.array(probabilities), np.array(labels, dtype=bool)
    told = [class_accuracy(found, truth, THRESHOLD, label) for label in (False, True)]
    correlation = spearman(found, np.array(advantages))
    return min(told) > THRESHOLD, correlation if correlation == correlation else -1.0
