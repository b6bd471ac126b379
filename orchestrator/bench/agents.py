"""What monitors are worth to agents: success and weighted cost beside always-large, and beside the same hand-overs at
other times.

The controls have the monitor `every` or `chance` in the monitors' place, under the same router with the same options.
None of them costs exactly what a policy does, so they are compared at its cost: on the front of a control's settings,
small-only and large-only, mixtures in it. That is the best that it could do there, chosen on the very tasks that are
reported: it flatters the control.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

from orchestrator.bench.pareto import Point, front
from orchestrator.bench.policies import LARGE, MODE, SMALL
from orchestrator.bench.resampling import draws, ratio_interval, spread
from orchestrator.bench.sample import Sample
from orchestrator.bench.spec import parts
from orchestrator.intervals import Interval, wilson

if TYPE_CHECKING:
    import numpy as np

__all__ = ["agents", "control_of"]

CONTROLS = ("every", "chance")
"""Monitors that notice nothing."""

Rows = Mapping[str, Sequence[Sample]]
Costs = Mapping[str, Callable[[Sample], float]]
"""What a run costs, by what is counted."""


def control_of(label: str) -> str:
    """Return the monitor that makes this policy a control, empty for any other."""
    watching = [each.split(":")[0] for each in parts(label)[1:] if not each.startswith(f"{MODE}=")]
    return watching[0] if len(watching) == 1 and watching[0] in CONTROLS else ""


def agents(rows: Rows, costs: Costs) -> dict[str, Any] | None:
    """Return it by policy, as plain data; None where no monitor was asked for.

    Every interval is a 95% percentile bootstrap over tasks, those of rates but a ratio Wilson's.
    """
    if all(len(parts(label)) == 1 for label in rows):
        return None
    return {
        label: {
            "cost_versus_large": {
                name: ratio_interval([of(each) for each in samples], [of(each) for each in rows[LARGE]])
                for name, of in costs.items()
            },
            "right_versus_large": ratio_interval(
                [each.is_right for each in samples], [each.is_right for each in rows[LARGE]]
            ),
            "returns_per_task": mean(each.returns for each in samples),
            "ratings_per_task": mean(each.ratings for each in samples),
            "noticed": _noticed(samples),
            "at_equal_cost": {} if control_of(label) else _at_equal_cost(label, rows, costs),
        }
        for label, samples in rows.items()
    }


def _noticed(samples: Sequence[Sample]) -> dict[str, dict[str, Interval]]:
    """Return the share of runs in which something was noticed, by kind: of all, of those that ended right, and of the
    healthy ones.

    The last is the rate of false alarms: a run that loops and recovers is right, too, but not healthy. Where runs were
    handed over, nobody can say which ones would have been.
    """
    right = [sample for sample in samples if sample.is_right]
    is_known = not any(sample.escalations for sample in samples)
    healthy = [sample for sample in right if is_known and sample.is_healthy]
    kinds = sorted(Counter(kind for sample in samples for kind in sample.events))
    return {
        kind: {
            name: wilson(sum(kind in each.events for each in some), len(some))
            for name, some in (("all", samples), ("right", right), ("healthy", healthy))
            if some
        }
        for kind in kinds
    }


def _at_equal_cost(label: str, rows: Rows, costs: Costs) -> dict[str, dict[str, Interval]]:
    """Return by how much a policy is more often right than each control at the same cost, by what is counted."""
    others: dict[str, list[str]] = {}
    for other in rows:
        if (name := control_of(other)) and _frame(other) == _frame(label):
            others.setdefault(name, []).append(other)
    found: dict[str, dict[str, Interval]] = {name: {} for name in costs}
    for what, of in costs.items():
        for name, settings in others.items():
            members = [label, *settings, SMALL, LARGE]
            right = [[float(sample.is_right) for sample in rows[each]] for each in members]
            spent = [[of(sample) for sample in rows[each]] for each in members]
            first, *drawn = _differences(right, spent)
            if (ends := spread(drawn)) is not None:
                found[what][name] = Interval(first, *ends)
    return found


def _frame(label: str) -> tuple[str, ...]:
    """Return what a policy and its controls have in common: the router with its options, and the mode."""
    router, *others = parts(label)
    return (router, *(each for each in others if each.startswith(f"{MODE}=")))


def _differences(right: Sequence[Sequence[float]], spent: Sequence[Sequence[float]]) -> Iterator[float]:
    """Yield how much higher the first policy's accuracy is than the others' front at its cost: on the tasks as they
    are, then on each draw of them."""
    import numpy as np

    number = len(right[0])
    counts = np.vstack([np.ones(number), draws(number)])
    accuracies, means = (counts @ np.asarray(each).T / number for each in (right, spent))
    for accuracy, cost in zip(accuracies, means, strict=True):
        yield float(accuracy[0] - _front_at(cost[0], cost[1:], accuracy[1:]))


def _front_at(cost: float, costs: np.ndarray, accuracies: np.ndarray) -> float:
    import numpy as np

    best = front([Point(*pair) for pair in zip(costs.tolist(), accuracies.tolist(), strict=True)])
    return float(np.interp(cost, [each.cost for each in best], [each.accuracy for each in best]))
