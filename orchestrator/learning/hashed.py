"""A logistic regression over hashed texts, in numpy: of the many places of a text only those that hold something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.learning.metrics import Bools, Floats
from orchestrator.monitors import ngrams

__all__ = ["Texts", "Weighed", "descended", "texts_of"]


class Texts(NamedTuple):
    """Texts as numbers: entry i says that text `rows[i]` has `values[i]` in `places[i]`."""

    rows: NDArray[np.intp]
    places: NDArray[np.intp]
    values: NDArray[np.float32]
    number: int
    """Texts, those with nothing in them included."""


class Weighed(NamedTuple):
    """What is fitted."""

    weights: Floats
    """One for each of ngrams.SIZE places."""
    bias: float

    def chances(self, texts: Texts) -> Floats:
        """Return the chance of each text, in [0, 1]."""
        scores = np.bincount(texts.rows, self.weights[texts.places] * texts.values, minlength=texts.number) + self.bias
        chances: Floats = 1 / (1 + np.exp(-np.clip(scores, -500, 500)))
        return chances


def texts_of(texts: Sequence[str]) -> Texts:
    """Return texts as numbers."""
    found = [ngrams.counted(text) for text in texts]
    lengths = [len(each.places) for each in found]
    return Texts(
        rows=np.repeat(np.arange(len(found), dtype=np.intp), lengths),
        places=np.concatenate([each.places for each in found] or [np.empty(0, np.intp)]).astype(np.intp),
        values=np.concatenate([each.values for each in found] or [np.empty(0, np.float32)]),
        number=len(found),
    )


def descended(texts: Texts, truth: Bools, weights: Floats, penalty: float) -> Iterator[Weighed]:
    """Yield what is fitted after 1, 2, 3, ... passes over all texts, without end; `weights` has one entry per text.

    What falls is the weighted mean of the log loss and half of `penalty` times the squared weights, the bias free.
    Source: Nesterov's accelerated gradient; the step is one over what the curvature can be at most.
    """
    shares = weights / weights.sum()
    curvature = (np.sum(shares[texts.rows] * texts.values**2) + 1) / 4 + penalty
    here = last = np.zeros(ngrams.SIZE + 1)  # the bias behind the weights
    number = 0
    while True:
        ahead = here + number / (number + 3) * (here - last)
        errors = shares * (Weighed(ahead[:-1], ahead[-1]).chances(texts) - truth)
        slopes = np.bincount(texts.places, errors[texts.rows] * texts.values, minlength=ngrams.SIZE)
        gradient = slopes + penalty * ahead[:-1]
        here, last = ahead - np.append(gradient, errors.sum()) / curvature, here
        number += 1
        yield Weighed(here[:-1], float(here[-1]))
