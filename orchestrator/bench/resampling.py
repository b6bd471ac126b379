"""How sure is a ratio, or a speed-up at matched accuracy?  Draw the tasks again, with replacement, and compute anew."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from orchestrator.bench.pareto import Point, cheapest, front

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ratio_interval", "speed_up_interval"]

DRAWS = 1000
SEED = 0


def ratio_interval(over: Sequence[float], under: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95% interval of sum(over) / sum(under), both by task; None where the ratio can be infinite.

    Source: the percentile bootstrap, the two values of a task always drawn together.
    """
    import numpy as np

    sums = _draws(len(over)) @ np.asarray([over, under], dtype=float).T
    if not np.all(sums[:, 1]):
        return None
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975]).tolist()
    return low, high


def speed_up_interval(seconds: Sequence[Sequence[float]], hits: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """Return the 95% interval of the speed-up at the accuracy of the last policy, large-only.

    One row per policy, one column per task, columns of one task together. Source: the percentile
    bootstrap; one task is one draw, whatever the policies.
    """
    import numpy as np

    costs, right = np.asarray(seconds), np.asarray(hits, dtype=float)
    number = costs.shape[1]
    counts = _draws(number)
    mean_costs = counts @ costs.T / number
    accuracies = counts @ right.T  # in tasks: whole numbers, so that no rounding parts equal policies
    found = []
    for cost, accuracy in zip(mean_costs.tolist(), accuracies.tolist(), strict=True):
        points = [Point(*pair) for pair in zip(cost, accuracy, strict=True)]
        least = cheapest(front(points), accuracy[-1])
        if least:  # a draw of tasks without any call says nothing
            found.append(cost[-1] / least)
    low, high = np.quantile(found, [0.025, 0.975]).tolist()
    return low, high


@cache
def _draws(number: int) -> np.ndarray:
    """Return how often each of `number` tasks comes up in each draw, shape (DRAWS, number)."""
    import numpy as np

    return np.random.default_rng(SEED).multinomial(number, np.full(number, 1 / number), size=DRAWS).astype(float)
