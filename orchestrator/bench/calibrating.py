"""Which threshold?  The cheapest that keeps what is asked for, with intervals over the tasks of the calibration split.

A floor of accuracy or a ceiling of cost has to hold at the lower, or upper, end of a one-sided 95% interval, not
at the measured value. It is a statement about each setting by itself: of many settings that barely fail, one in
twenty passes by luck, and the choice looks a little better than it is. So what is chosen here is reported on
other tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

from orchestrator.bench.cost import cost
from orchestrator.bench.intervals import Interval, wilson
from orchestrator.bench.profiles import Prices
from orchestrator.bench.resampling import ratio_quantiles
from orchestrator.bench.sample import Sample
from orchestrator.errors import UserError

__all__ = ["COSTS", "FLOORS", "Control", "Controls", "Setting", "Target", "chosen", "controls", "grid", "settings"]

FLOORS = ("max-accuracy-loss", "min-accuracy")
"""What quality must not fall below: then the cheapest setting is chosen."""
COSTS = ("max-large-share", "max-cost")
"""What must not be passed: then the most accurate setting is chosen."""
_ONE_SIDED = 0.05
_ROUNDING = 1e-9
"""What sums of tasks may be off by: exactly at the target is met."""


class Target(NamedTuple):
    """What a threshold is chosen for."""

    kind: str
    """One of FLOORS, COSTS, or `risk`."""
    value: float

    def check(self) -> None:
        """Raise UserError if nothing can meet it, or everything does."""
        wanted, is_good = {
            "max-cost": ("from 0 on", 0 <= self.value < inf),
            "risk": ("between 0 and 1", 0 < self.value < 1),
        }.get(self.kind, ("in [0, 1]", 0 <= self.value <= 1))
        if not is_good:
            raise UserError(f"--{self.kind} {self.value:g}: give a number {wanted}")


class Setting(NamedTuple):
    """What one threshold came to on the calibration tasks; two-sided 95% intervals, by the paired bootstrap."""

    threshold: float
    accuracy: Interval
    versus_large: Interval
    """Share of tasks right, less large-only's."""
    large_share: Interval
    """Of kept steps, written by the largest engine."""
    cost: Interval
    """Per task, in output tokens of the large engine."""
    bound: float
    """The one-sided 95% bound of what the target speaks of."""
    is_met: bool
    """Whether the bound satisfies the target."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {name: list(each) if isinstance(each, tuple) else each for name, each in self._asdict().items()}


class Control(NamedTuple):
    """What small-only or large-only came to."""

    accuracy: Interval
    cost: float
    """Per task, in output tokens of the large engine."""


class Controls(NamedTuple):
    """What a threshold is between."""

    tasks: int
    small: Control
    large: Control


def controls(small: Sequence[Sample], large: Sequence[Sample], prices: Prices) -> Controls:
    """Return what both came to on the same tasks."""
    found = [
        Control(
            wilson(sum(sample.is_right for sample in samples), len(samples)),
            sum(cost(sample.uses, prices) for sample in samples) / len(samples),
        )
        for samples in (small, large)
    ]
    return Controls(len(large), *found)


def settings(
    rows: Mapping[float, Sequence[Sample]], large: Sequence[Sample], prices: Prices, target: Target
) -> list[Setting]:
    """Return the settings by their threshold, least first; all rows are of the same tasks in the same order."""
    right = [float(sample.is_right) for sample in large]
    return [_setting(threshold, rows[threshold], right, prices, target) for threshold in sorted(rows)]


def _setting(
    threshold: float, samples: Sequence[Sample], large: Sequence[float], prices: Prices, target: Target
) -> Setting:
    ones = [1.0] * len(samples)
    right = [float(sample.is_right) for sample in samples]
    less = [ours - theirs for ours, theirs in zip(right, large, strict=True)]
    large_steps, steps = [float(each.large_steps) for each in samples], [float(each.steps) for each in samples]
    costs = [cost(sample.uses, prices) for sample in samples]
    spoken_of = {
        "max-accuracy-loss": (less, ones),
        "min-accuracy": (right, ones),
        "max-large-share": (large_steps, steps),
        "max-cost": (costs, ones),
        "risk": (right, ones),
    }
    is_floor = target.kind not in COSTS
    bound = ratio_quantiles(*spoken_of[target.kind], [_ONE_SIDED if is_floor else 1 - _ONE_SIDED])[0]
    floor = -target.value if target.kind == "max-accuracy-loss" else target.value
    return Setting(
        threshold=threshold,
        accuracy=_interval(right, ones),
        versus_large=_interval(less, ones),
        large_share=_interval(large_steps, steps),
        cost=_interval(costs, ones),
        bound=bound,
        is_met=bound >= floor - _ROUNDING if is_floor else bound <= target.value + _ROUNDING,
    )


def _interval(over: Sequence[float], under: Sequence[float]) -> Interval:
    low, high = ratio_quantiles(over, under, [0.025, 0.975])
    whole = sum(under)
    return Interval(sum(over) / whole if whole else 0.0, low, high)


def chosen(found: Sequence[Setting], target: Target) -> tuple[Setting, bool]:
    """Return the best setting and whether it meets the target; where none does, the one that comes nearest.

    Of those that meet a floor the cheapest, of those below a ceiling the most accurate; of equals the one that
    asks the large engine less, then the least threshold.
    """
    met = [each for each in found if each.is_met]
    if not met:
        return max(found, key=lambda each: each.bound if target.kind in FLOORS else -each.bound), False
    if target.kind in FLOORS:
        return min(met, key=lambda each: (each.cost.value, each.large_share.value, each.threshold)), True
    return max(met, key=lambda each: (each.accuracy.value, -each.large_share.value, -each.threshold)), True


def grid(readings: Sequence[float], number: int) -> list[float]:
    """Return at most `number` thresholds that cut the readings seen into equal parts, least and greatest among them.

    Raises UserError where there are none, or they are all alike: then no threshold decides anything.
    """
    import numpy as np

    if not readings:
        raise UserError("the policy rated no draft: there is nothing to choose a threshold by; give --thresholds")
    if min(readings) == max(readings):
        raise UserError(
            f"all {len(readings)} ratings are {readings[0]:g}: no threshold tells such drafts apart; try another scorer"
        )
    cuts = np.quantile(np.asarray(readings, dtype=float), np.linspace(0, 1, number), method="inverted_cdf").tolist()
    return sorted(set(cuts))
