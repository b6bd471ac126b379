"""How sure is a ratio, or a speed-up at matched accuracy?  Draw the tasks again, with replacement, and compute anew."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from orchestrator.bench.pareto import Point, cheapest, front
from orchestrator.intervals import Interval

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TWO_SIDED", "draws", "held_out", "ratio_ends", "ratio_interval", "speed_up_interval", "spread"]

DRAWS = 1000
HALVES = 200
SEED = 0
TWO_SIDED = (0.025, 0.975)
"""Quantiles of a 95% interval."""
MISSING = 0.05
"""Share of draws that may lack a figure before its interval would be one of something else."""


def spread(figures: Sequence[float | None], at: Sequence[float] = TWO_SIDED) -> tuple[float, ...] | None:
    """Return quantiles of what the draws came to, None being a draw in which the figure does not exist.

    Such draws are left out. Where there are more of them than one in twenty there is no interval: None.
    """
    import numpy as np

    found = np.asarray(figures, dtype=float)  # None is NaN
    known = found[~np.isnan(found)]
    if len(known) < (1 - MISSING) * len(found):
        return None
    return tuple(np.quantile(known, at).tolist())


def ratio_ends(
    over: Sequence[float], under: Sequence[float], at: Sequence[float] = TWO_SIDED
) -> tuple[float, ...] | None:
    """Return quantiles of sum(over) / sum(under), both by task, as `spread` does; a draw without any has no ratio.

    Source: the percentile bootstrap, the two values of a task always drawn together.
    """
    import numpy as np

    sums = draws(len(over)) @ np.asarray([over, under], dtype=float).T
    nothing = np.full(len(sums), np.nan)
    ratios: list[float | None] = np.divide(sums[:, 0], sums[:, 1], out=nothing, where=sums[:, 1] != 0).tolist()
    return spread(ratios, at)


def ratio_interval(over: Sequence[float], under: Sequence[float]) -> Interval | None:
    """Return sum(over) / sum(under) with its 95% interval; None where there is nothing to divide by, or too rarely."""
    ends = ratio_ends(over, under)
    if ends is None or not sum(under):
        return None
    return Interval(sum(over) / sum(under), *ends)


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
    low, high = np.quantile(found, TWO_SIDED).tolist()
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
