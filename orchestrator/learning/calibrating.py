"""A slope and an intercept that make a probability of a score, fitted on tasks that the score was not fitted on.

Source: J. Platt, 1999. Differs: the labels are taken as they are (there smoothed), and the slope is held back a
little, by half its square, because a few rows may be told apart perfectly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UserError

__all__ = ["calibrated"]

MAX_ROUNDS = 100
_CLOSE = 1e-9


def calibrated(scores: NDArray[np.float64], pays: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope, above 0, and intercept. Both classes are needed; scores are finite, one per row.

    Raises UserError if a higher score makes the large engine's step no likelier to be better.
    """
    spread = float(scores.std()) or 1.0
    centre = float(scores.mean())
    lines = np.stack([(scores - centre) / spread, np.ones(len(scores))], axis=1)
    held = np.array([1 / spread**2, 0.0])  # of the slope as it is, not of that of the standardised score
    share = float(pays.mean())
    at = np.array([0.0, np.log(share / (1 - share))])
    for _ in range(MAX_ROUNDS):
        slope_of = lines.T @ (_sigmoid(lines @ at) - pays) + held * at
        weights = _sigmoid(lines @ at) * (1 - _sigmoid(lines @ at))
        step = np.linalg.solve((lines * weights[:, None]).T @ lines + np.diag(held + 1e-12), slope_of)
        length, loss = 1.0, _loss(lines, pays, held, at)
        while length > _CLOSE and _loss(lines, pays, held, at - length * step) > loss:
            length /= 2
        at = at - length * step
        if np.abs(step).max() < _CLOSE:
            break
    slope = float(at[0] / spread)
    if not slope > 1e-6:
        raise UserError(
            "what was learnt says nothing about tasks it was not fitted on: collect more steps, or a scorer that tells "
            "good steps from bad ones"
        )
    return slope, float(at[1] - slope * centre)


def _sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    made: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(scores, -500, 500)))
    return made


def _loss(
    lines: NDArray[np.float64], pays: NDArray[np.bool_], held: NDArray[np.float64], at: NDArray[np.float64]
) -> float:
    scores = lines @ at
    return float((np.logaddexp(0, scores) - pays * scores).sum() + (held * at * at).sum() / 2)
