"""What one arm of a linear bandit has learned: ridge regression of its rewards, kept as plain numbers.

The sums themselves are kept, not their inverse, so nothing drifts however long it goes on: the matrix is
symmetric because only its upper half exists, and it is never smaller than `ridge` times the identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UserError

__all__ = ["LEAST", "MEND", "Ridge"]

HOPE = 1.0
"""The best there is. Expecting nothing, as ridge regression does by itself, an arm would be given up after one
bad draw, before anybody knows."""
LEAST = 1e-6
"""The least ridge, and one over the greatest: beyond them the widths would be noise."""
MEND = "begin afresh with another `experience`"
_NOISE = 1e-6
"""How far below 0 rounding may put a square."""
_MOST = 1e12
"""Above what any honest sum of bounded features reaches; beyond it the widths would be noise."""


class Ridge:
    """A = ridge * I + sum of x x', b = ridge * HOPE * (1, 0, ...) + sum of reward * x; `count` rewards are in them.

    The first feature is always 1, so an arm that nothing is known of is expected to earn HOPE by whatever it is given.
    """

    def __init__(self, size: int, ridge: float) -> None:
        self.count = 0
        self._ridge = ridge
        self._a: NDArray[np.float64] = ridge * np.eye(size)
        self._b: NDArray[np.float64] = _hope(size, ridge)

    def estimate(self, features: Sequence[float]) -> tuple[float, float]:
        """Return the expected reward, theta' x, and its uncertainty, sqrt(x' A^-1 x), both finite.

        Raises UserError for sums that nothing adds up to.
        """
        x = np.asarray(features)
        try:
            mean, spread = x @ np.linalg.solve(self._a, np.array((self._b, x)).T)
        except np.linalg.LinAlgError:
            spread = -1.0
        if not spread >= -_NOISE:
            raise UserError(f"linucb: what was learned is damaged (sums that nothing adds up to): {MEND}")
        return float(mean), float(max(spread, 0.0)) ** 0.5

    def add(self, features: Sequence[float], reward: float) -> None:
        """Learn that `features` earned `reward`. Raises UserError for what is not finite or of another length."""
        x = np.asarray(features, dtype=np.float64)
        if x.shape != self._b.shape or not np.isfinite(x).all() or not np.isfinite(reward):
            raise UserError(f"linucb: features {features!r:.60} with reward {reward!r} cannot be learned from")
        self._a += np.outer(x, x)
        self._b += reward * x
        self.count += 1

    def fade(self, discount: float) -> None:
        """Let everything learned so far count `discount` times as much; what an arm begins with stays."""
        if discount < 1:
            self._a = discount * self._a + (1 - discount) * self._ridge * np.eye(len(self._b))
            self._b = discount * self._b + (1 - discount) * _hope(len(self._b), self._ridge)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data: the upper half of A row by row, and b."""
        upper, _ = _halves(len(self._b))
        return {"a": self._a[upper].tolist(), "b": self._b.tolist(), "count": self.count}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], size: int, ridge: float) -> Ridge:
        """Return what `to_json` gave. Raises UserError if that is damaged or of another size."""
        _, whole = _halves(size)
        made = cls.__new__(cls)
        made._ridge = ridge
        if not isinstance(stored, Mapping):
            raise UserError(f"linucb: what was learned is damaged ({stored!r:.40} is no arm): {MEND}")
        try:
            half = np.array(stored["a"], dtype=np.float64)
            made._b = np.array(stored["b"], dtype=np.float64)
            made.count = int(stored["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"linucb: what was learned is damaged ({error!r}): {MEND}") from error
        sums = np.concatenate((half.ravel(), made._b.ravel()))
        if (half.shape, made._b.shape) != ((size * (size + 1) // 2,), (size,)) or not np.abs(sums).max() < _MOST:
            raise UserError(f"linucb: what was learned is damaged (not the finite sums of {size} features): {MEND}")
        made._a = half[whole]
        if not made._a.diagonal().min() >= 0.5 * min(ridge, LEAST):
            raise UserError(f"linucb: what was learned is damaged (sums that nothing adds up to): {MEND}")
        return made


def _hope(size: int, ridge: float) -> NDArray[np.float64]:
    hope: NDArray[np.float64] = ridge * HOPE * np.eye(1, size)[0]
    return hope


@cache
def _halves(size: int) -> tuple[tuple[NDArray[np.intp], ...], NDArray[np.intp]]:
    """Return where the upper half of a matrix lies in it, and where each place of the matrix lies in that half."""
    upper = np.triu_indices(size)
    whole = np.zeros((size, size), dtype=np.intp)
    whole[upper] = whole.T[upper] = np.arange(len(upper[0]))
    return upper, whole
