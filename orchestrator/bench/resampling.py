"""How sure is a speed-up at matched accuracy?  Draw the tasks again, with replacement, and compute it anew."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.bench.pareto import Point, cheapest, front

__all__ = ["speed_up_interval"]

DRAWS = 1000
SEED = 0


def speed_up_interval(seconds: Sequence[Sequence[float]], hits: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """Return the 95% interval of the speed-up at the accuracy of the last policy, large-only.

    One row per policy, one column per task, columns of one task together. Source: the percentile
    bootstrap; one task is one draw, whatever the policies.
    """
    import numpy as np

    costs, right = np.asarray(seconds), np.asarray(hits, dtype=float)
    number = costs.shape[1]
    counts = np.random.default_rng(SEED).multinomial(number, np.full(number, 1 / number), size=DRAWS).astype(float)
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
