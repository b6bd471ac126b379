"""How good probabilities of escalation are on tasks that were held out.

Source: Arbitrage, arXiv:2512.05033 (rank correlation with the advantage and the accuracy of each label at one
threshold). Differs: the expected calibration error and the reliability behind it are added (there none is reported).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = ["Measured", "measured"]

BINS = 10
THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Figures of one evaluation."""

    examples: int
    spearman: float
    """Rank correlation of probability and advantage, in [-1, 1]; 0 where one of them is constant."""
    acc0: float
    """Share of the drafts that should stand whose probability is below the threshold."""
    acc1: float
    """Share of the others whose probability is at least the threshold."""
    ece: float
    """Expected calibration error in ten bins, in [0, 1]."""
    reliability: tuple[tuple[int, float, float], ...]
    """Per bin that is not empty: examples, mean probability, share of label 1."""

    def rank(self) -> tuple[int, float]:
        """Return what the best evaluation has most of."""
        return int(min(self.acc0, self.acc1) > THRESHOLD), self.spearman

    def shown(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def measured(probabilities: Sequence[float], labels: Sequence[int], advantages: Sequence[float]) -> Measured:
    """Return the figures; all three have one entry per example."""
    found, wanted = np.asarray(probabilities), np.asarray(labels)
    says = found >= THRESHOLD
    bins = np.minimum((found * BINS).astype(int), BINS - 1)
    rows = [
        (int((bins == each).sum()), float(found[bins == each].mean()), float(wanted[bins == each].mean()))
        for each in range(BINS)
        if (bins == each).any()
    ]
    return Measured(
        examples=len(found),
        spearman=_spearman(found, np.asarray(advantages)),
        acc0=float((~says)[wanted == 0].mean()),
        acc1=float(says[wanted == 1].mean()),
        ece=sum(number * abs(mean - share) for number, mean, share in rows) / len(found),
        reliability=tuple(rows),
    )


def _spearman(left: np.ndarray, right: np.ndarray) -> float:
    ranks = [_ranks(each) for each in (left, right)]
    if any(each.std() == 0 for each in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks; ties share their mean."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
