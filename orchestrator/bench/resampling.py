"""How sure is a ratio, or a speed-up at matched accuracy?  Draw the tasks again, with replacement, and compute anew."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from orchestrator.bench.intervals import Interval
from orchestrator.bench.pareto import Point, cheapest, front

if TYPE_CHECKING:
    import numpy as np

__all__ = ["draws", "held_out", "mean_interval", "ratio_interval", "ratio_quantiles", "speed_up_interval"]

DRAWS = 1000
HALVES = 200
SEED = 0


def ratio_quantiles(over: Sequence[float], under: Sequence[float], at: Sequence[float]) -> list[float]:
    """Return quantiles of sum(over) / sum(under), both by task, under the bootstrap; a draw without any is 0."""
    import numpy as np

    sums = draws(len(over)) @ np.asarray([over, under], dtype=float).T
    ratios = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] != 0)
    found: list[float] = np.quantile(ratios, at).tolist()
    return found


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of what was measured task by task, with its 95% bootstrap interval."""
    low, high = ratio_quantiles(values, [1.0] * len(values), [0.025, 0.975])
    return Interval(sum(values) / len(values), low, high)


def ratio_interval(over: Sequence[float], under: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95% interval of sum(over) / sum(under), both by task; None where the ratio can be infinite.

    Source: the percentile bootstrap, the two values of a task always drawn together.
    """
    import numpy as np

    sums = draws(len(over)) @ np.asarray([over, under], dtype=float).T
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
    counts = draws(number)
    mean_costs = counts @ costs.T / number
    accuracies = counts @ right.T  # in tasks: whole numbers, so that no rounding parts equal policies
    found = []
    for cost, accuracy in zip(mean_costs.tolist(), accuracies.tolist(), strict=True):
        points = [Point(*pair) for pair in zip(cost, accuracy, strict=True)]
        least = cheapest(front(points), accuracy[-1])
        if least and least.cost:  # a draw of tasks without any call says nothing
            found.append(cost[-1] / least.cost)
    low, high = np.quantile(found, [0.025, 0.975]).tolist()
    return low, high


def held_out(seconds: Sequence[Sequence[float]], hits: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """Return the speed-up of what is chosen on one half of the tasks, measured on the other half, and how many more
    of those it answers right than large-only does, a share of all; means over HALVES ways of halving.

    Rows and columns as in `speed_up_interval`. A choice that is reported on the tasks it was made on looks better
    than it is. Source: cross-validation, with random halves.
    """
    import numpy as np

    costs, right = np.asarray(seconds), np.asarray(hits, dtype=float)
    number = costs.shape[1]
    random = np.random.default_rng(SEED)
    speed_ups, differences = [], []
    for _ in range(HALVES):
        order = random.permutation(number)
        here, there = order[: number // 2], order[number // 2 :]
        if not len(here):
            continue
        points = [
            Point(cost, accuracy)
            for cost, accuracy in zip(
                costs[:, here].mean(axis=1).tolist(), right[:, here].sum(axis=1).tolist(), strict=True
            )
        ]
        chosen = cheapest(points, points[-1].accuracy)
        assert chosen is not None  # large-only reaches its own accuracy
        weights = np.zeros(len(points))
        weights[chosen.first] += 1 - chosen.share
        weights[chosen.second] += chosen.share
        cost = float(weights @ costs[:, there].mean(axis=1))
        if cost:
            accuracies = right[:, there].mean(axis=1)
            speed_ups.append(float(costs[-1, there].mean()) / cost)
            differences.append(float(weights @ accuracies - accuracies[-1]))
    return (float(np.mean(speed_ups)), float(np.mean(differences))) if speed_ups else (1.0, 0.0)


@cache
def draws(number: int) -> np.ndarray:
    """Return how often each of `number` tasks comes up in each draw, shape (DRAWS, number)."""
    import numpy as np

    return np.random.default_rng(SEED).multinomial(number, np.full(number, 1 / number), size=DRAWS).astype(float)
