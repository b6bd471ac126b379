"""How good are predictions?  Rank correlation, class accuracies, calibration, and how sure each of these figures is.

Intervals are the 2.5% and 97.5% percentiles over draws of whole tasks, with replacement: the steps of one task are
alike, and drawn one by one they would make every figure look surer than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Bin",
    "Figure",
    "auc",
    "average_precision",
    "best_f1",
    "bootstrapped",
    "caught",
    "class_accuracy",
    "ece",
    "plain",
    "precision_recall_f1",
    "ranks",
    "reliability",
    "spearman",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Measure = Callable[[NDArray[np.int64]], float]
"""From the places of the rows that were drawn to a value; NaN where it cannot be told."""

DRAWS = 300
SEED = 0
BINS = 10


class Figure(NamedTuple):
    """A measured value with its 95% interval; NaN where there was nothing to measure it on."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Bin(NamedTuple):
    """Predictions of one range, of equal width, beside what came of them."""

    low: float
    high: float
    number: int
    predicted: float
    """Mean prediction."""
    observed: float
    """Share that came true."""


def ranks(values: Floats) -> Floats:
    """Return the rank of each value, from 1; equal values share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Floats = (last - (counts - 1) / 2)[places]
    return shared


def spearman(ours: Floats, theirs: Floats) -> float:
    """Return the rank correlation, in [-1, 1]; NaN if one side is constant or empty."""
    if len(ours) < 2:
        return float("nan")
    a, b = ranks(ours), ranks(theirs)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm else float("nan")


def auc(predicted: Floats, truth: Bools) -> float:
    """Return the chance that a true row is predicted above a false one, ties half; NaN without both."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    total = float(ranks(predicted)[truth].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(predicted: Floats, truth: Bools) -> float:
    """Return the area under precision over recall, as steps; equal predictions are one step. NaN if none is true."""
    positives, _, found, taken = _taken(predicted, truth)
    if not positives:
        return float("nan")
    return float(np.diff(found, prepend=0) @ (found / taken)) / positives


def best_f1(predicted: Floats, truth: Bools) -> tuple[float, float]:
    """Return the best F1 that a threshold can have, and that threshold, in the middle of its range; the highest of
    several. NaN if none is true."""
    positives, values, found, taken = _taken(predicted, truth)
    if not positives:
        return float("nan"), float("nan")
    scores = 2 * found / (taken + positives)
    best = int(np.argmax(scores))
    following = values[best + 1] if best + 1 < len(values) else values[best]
    return float(scores[best]), float((values[best] + following) / 2)


def _taken(predicted: Floats, truth: Bools) -> tuple[int, Floats, Floats, Floats]:
    """Return the number of true rows and, for each prediction as a threshold, highest first: it, and how many rows
    that are true, and that are any, are at it or above."""
    order = np.argsort(-predicted, kind="stable")
    values = predicted[order]
    ends = np.flatnonzero(np.diff(values, append=-np.inf))
    found: Floats = np.cumsum(truth[order])[ends].astype(float)
    return int(truth.sum()), values[ends], found, (ends + 1).astype(float)


def precision_recall_f1(predicted: Floats, truth: Bools, threshold: float) -> tuple[float, float, float]:
    """Return precision, recall and F1 where the rows at the threshold or above are called true; NaN as 0 by 0."""
    called = predicted >= threshold
    right, calls, positives = int((called & truth).sum()), int(called.sum()), int(truth.sum())
    nan = float("nan")
    return (
        right / calls if calls else nan,
        right / positives if positives else nan,
        2 * right / (calls + positives) if calls + positives else nan,
    )


def class_accuracy(predicted: Floats, truth: Bools, threshold: float, of: bool) -> float:
    """Return the share of the rows of a class that fall on its side of the threshold; above it is true. NaN if none."""
    rows = predicted[truth == of]
    return float(((rows > threshold) == of).mean()) if len(rows) else float("nan")


def caught(predicted: Floats, truth: Bools, share: float) -> float:
    """Return the share of the true rows that are among the `share` predicted highest; NaN if none is true."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-predicted, kind="stable")[: round(share * len(predicted))]
    return float(truth[order].sum() / truth.sum())


def reliability(predicted: Floats, truth: Bools, bins: int = BINS) -> list[Bin]:
    """Return what came true of the predictions of each range of equal width; empty ranges are left out."""
    places = np.minimum((predicted * bins).astype(int), bins - 1)
    found = []
    for place in range(bins):
        here = places == place
        if number := int(here.sum()):
            observed, mean = float(truth[here].mean()), float(predicted[here].mean())
            found.append(Bin(place / bins, (place + 1) / bins, number, mean, observed))
    return found


def ece(predicted: Floats, truth: Bools, bins: int = BINS) -> float:
    """Return the expected calibration error: how far predictions are from what came true, in [0, 1]. NaN for no row.

    Source: M. P. Naeini and others, AAAI 2015, over `bins` ranges of equal width.
    """
    if not len(predicted):
        return float("nan")
    table = reliability(predicted, truth, bins)
    return sum(each.number * abs(each.predicted - each.observed) for each in table) / len(predicted)


def plain(value: Any) -> Any:
    """Return figures as JSON knows them: what could not be told is null."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def bootstrapped(tasks: Sequence[str], measure: Measure, draws: int = DRAWS) -> Figure:
    """Return `measure` of all rows with its interval; `tasks` names the task of each row."""
    everything = np.arange(len(tasks))
    value = measure(everything)
    by_task = _by_task(tasks)
    if len(by_task) < 2:
        return Figure(value, float("nan"), float("nan"))
    random = np.random.default_rng(SEED)
    found = []
    for _ in range(draws):
        drawn = measure(np.concatenate([by_task[place] for place in random.integers(len(by_task), size=len(by_task))]))
        if drawn == drawn:
            found.append(drawn)
    if not found:
        return Figure(value, float("nan"), float("nan"))
    low, high = np.quantile(found, [0.025, 0.975]).tolist()
    return Figure(value, low, high)


def _by_task(tasks: Sequence[str]) -> list[NDArray[np.int64]]:
    found: dict[str, list[int]] = {}
    for place, task in enumerate(tasks):
        found.setdefault(task, []).append(place)
    return [np.array(places) for places in found.values()]
