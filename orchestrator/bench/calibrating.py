"""Which threshold?  The cheapest that keeps what is asked for, with intervals over the tasks of the calibration split.

A floor of accuracy or a ceiling of cost has to hold at the lower, or upper, end of a one-sided 95% interval, not
at the measured value. Shares have the wider of two: the bootstrap over tasks, which is certain where all tasks agree,
and the one that is not, Wilson's for a share and Newcombe's for a difference by task. It is a statement about each
setting by itself: of many settings that barely fail, one in twenty passes by luck, and the choice looks a little
better than it is. So what is chosen here is reported on other tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, inf
from typing import Any, NamedTuple

from orchestrator.bench.cost import cost
from orchestrator.bench.profiles import Prices
from orchestrator.bench.resampling import ratio_ends
from orchestrator.bench.sample import Sample
from orchestrator.errors import UserError
from orchestrator.intervals import ONE_SIDED, Interval, Z, paired, wilson

__all__ = [
    "LEAST",
    "TARGETS",
    "Control",
    "Controls",
    "Setting",
    "Target",
    "chosen",
    "controls",
    "grid",
    "settings",
    "written",
]

LEAST = 30
"""Tasks that a calibration for a floor or a ceiling needs at least."""
_ROUNDING = 1e-9
"""What sums of tasks may be off by: exactly at the target is met."""


class _Kind(NamedTuple):
    end: str
    """`lower` where quality must not fall below the target, and the cheapest setting is chosen; `upper` where a cost
    must not pass it, and the most accurate is; empty where no setting is judged by an interval."""
    is_good: Callable[[float], bool]
    wanted: str


TARGETS: Mapping[str, _Kind] = {
    "max-accuracy-loss": _Kind("lower", lambda value: 0 <= value <= 1, "in [0, 1]"),
    "min-accuracy": _Kind("lower", lambda value: 0 <= value < 1, "in [0, 1), because no number of tasks proves 1"),
    "max-large-share": _Kind("upper", lambda value: 0 <= value <= 1, "in [0, 1]"),
    "max-cost": _Kind("upper", lambda value: 0 <= value < inf, "from 0 on"),
    "risk": _Kind("", lambda value: 0 < value < 1, "between 0 and 1"),
}
"""What a threshold can be chosen for."""


class Target(NamedTuple):
    """What a threshold is chosen for."""

    kind: str
    """One of TARGETS."""
    value: float

    @property
    def end(self) -> str:
        """The end of its interval that has to keep it: `lower`, `upper`, or empty for neither."""
        return TARGETS[self.kind].end

    def __str__(self) -> str:
        return f"{self.kind} {written(self.value)}"

    def check(self) -> None:
        """Raise UserError if nothing can meet it, or everything does."""
        kind = TARGETS[self.kind]
        if not kind.is_good(self.value):
            raise UserError(f"--{self}: give a number {kind.wanted}")

    @property
    def least_tasks(self) -> int:
        """How many tasks it takes at least: LEAST, or as many as prove an accuracy that is right on all of them.

        A risk has its own, see `conformal.least_points`: 1 here.
        """
        if not self.end:
            return 1
        squared = ONE_SIDED * ONE_SIDED
        proving = ceil(squared * self.value / (1 - self.value)) if self.kind == "min-accuracy" else 0
        return max(LEAST, proving)

    def check_tasks(self, number: int) -> None:
        """Raise UserError where so few tasks cannot show that it is met."""
        if number < (least := self.least_tasks):
            raise UserError(f"--{self} needs at least {least} tasks; there are {number}")


class Setting(NamedTuple):
    """What one threshold came to on the calibration tasks, with two-sided 95% intervals."""

    threshold: float
    accuracy: Interval
    versus_large: Interval
    """Share of tasks right, less large-only's."""
    large_share: Interval
    """Of kept steps, written by the largest engine."""
    cost: Interval
    """Per task, in output tokens of the large engine."""
    bound: float | None
    """The one-sided 95% bound of what the target speaks of; None for a risk, which is controlled in another way."""
    is_met: bool | None
    """Whether the bound satisfies the target; None where there is none."""

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
    right = [sample.is_right for sample in large]
    return [_setting(threshold, rows[threshold], right, prices, target) for threshold in sorted(rows)]


def _setting(
    threshold: float, samples: Sequence[Sample], large: Sequence[bool], prices: Prices, target: Target
) -> Setting:
    measured = _Measured(samples, large, [cost(sample.uses, prices) for sample in samples])
    bound = measured.bound(target) if target.end else None
    return Setting(
        threshold=threshold,
        accuracy=measured.accuracy(),
        versus_large=measured.versus_large(),
        large_share=measured.large_share(),
        cost=measured.cost(),
        bound=bound,
        is_met=None if bound is None else _keeps(bound, target),
    )


def _keeps(bound: float, target: Target) -> bool:
    if target.end == "upper":
        return bound <= target.value + _ROUNDING
    return bound >= (-target.value if target.kind == "max-accuracy-loss" else target.value) - _ROUNDING


class _Level(NamedTuple):
    """How sure an interval is."""

    z: float
    """Normal quantile at which its ends stand."""
    tail: float
    """Chance to be beyond either of them."""


_BOTH = _Level(Z, 0.025)
_ONE = _Level(ONE_SIDED, 0.05)


class _Measured:
    """What a setting came to, each figure with its interval at a level."""

    def __init__(self, samples: Sequence[Sample], large: Sequence[bool], costs: Sequence[float]) -> None:
        self._samples = samples
        self._right = [sample.is_right for sample in samples]
        self._large = large
        self._costs = costs
        self._ones = [1.0] * len(samples)

    def accuracy(self, level: _Level = _BOTH) -> Interval:
        return _wider(
            wilson(sum(self._right), len(self._right), level.z), list(map(float, self._right)), self._ones, level
        )

    def versus_large(self, level: _Level = _BOTH) -> Interval:
        less = [float(ours) - theirs for ours, theirs in zip(self._right, self._large, strict=True)]
        return _wider(paired(self._right, self._large, level.z), less, self._ones, level)

    def large_share(self, level: _Level = _BOTH) -> Interval:
        large, steps = ([getattr(each, name) for each in self._samples] for name in ("large_steps", "steps"))
        if not sum(steps):
            return Interval(0.0, 0.0, 1.0)
        return _wider(wilson(sum(large), sum(steps), level.z), large, steps, level)

    def cost(self, level: _Level = _BOTH) -> Interval:
        mean = sum(self._costs) / len(self._costs)
        return _wider(Interval(mean, mean, mean), self._costs, self._ones, level)

    def bound(self, target: Target) -> float:
        of = {
            "max-accuracy-loss": self.versus_large,
            "min-accuracy": self.accuracy,
            "max-large-share": self.large_share,
            "max-cost": self.cost,
        }
        found = of[target.kind](_ONE)
        return found.low if target.end == "lower" else found.high


def _wider(of: Interval, over: Sequence[float], under: Sequence[float], level: _Level) -> Interval:
    """Return an interval of sum(over) / sum(under) with the ends of the bootstrap where those are further out."""
    ends = ratio_ends(over, under, (level.tail, 1 - level.tail))
    return of if ends is None else Interval(of.value, min(of.low, ends[0]), max(of.high, ends[1]))


def chosen(found: Sequence[Setting], target: Target) -> tuple[Setting, bool]:
    """Return the best setting and whether it meets the target; where none does, the one that comes nearest.

    Of those that meet a floor the cheapest, of those below a ceiling the most accurate; of equals the one that
    asks the large engine less, then the least threshold.
    """
    met = [each for each in found if each.is_met]
    is_floor = target.end == "lower"
    if not met:
        return max(found, key=lambda each: _reached(each) if is_floor else -_reached(each)), False
    if is_floor:
        return min(met, key=lambda each: (each.cost.value, each.large_share.value, each.threshold)), True
    return max(met, key=lambda each: (each.accuracy.value, -each.large_share.value, -each.threshold)), True


def _reached(setting: Setting) -> float:
    assert setting.bound is not None  # a risk has one setting, and it is not chosen here
    return setting.bound


def written(value: float) -> str:
    """Return a number as it is written in a command: all its digits, no point behind a whole one."""
    return repr(value).removesuffix(".0")


def grid(readings: Sequence[float], number: int) -> list[float]:
    """Return at most `number` thresholds that cut the readings seen into equal parts, least and greatest among them.

    Raises UserError where there are none, or they are all alike: then no threshold decides anything.
    """
    import numpy as np

    if not readings:
        raise UserError("the policy rated no draft: there is nothing to choose a threshold by; give --thresholds")
    if min(readings) == max(readings):
        raise UserError(
            f"all {len(readings)} ratings are {written(readings[0])}: no threshold tells such drafts apart; "
            "try another scorer"
        )
    cuts = np.quantile(np.asarray(readings, dtype=float), np.linspace(0, 1, number), method="inverted_cdf").tolist()
    return sorted(set(cuts))
