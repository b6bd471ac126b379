"""How often was the choice of a step's writer a wrong one?  Estimated from the steps that were looked at.

A large step is wasted if the small engine's was as good; a small step is harmful if the large engine's would have
been better. Better is what the scorer says of the step alone: what comes of it later is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.bench.intervals import Interval, wilson
from orchestrator.bench.resampling import ratio_quantiles
from orchestrator.bench.sample import Sample

__all__ = ["regret"]


def regret(samples: Sequence[Sample]) -> dict[str, Any] | None:
    """Return the shares of wasted large steps and of harmful small steps with 95% intervals, None if nothing was
    looked at.

    Source: the percentile bootstrap over tasks, because steps of a task are alike; Wilson's interval over steps
    where all or none are wrong, of which the bootstrap would be certain.
    """
    looked = sum(len(sample.compared) for sample in samples)
    if not looked:
        return None
    wasted = [_counts(sample, is_large=True) for sample in samples]
    harmful = [_counts(sample, is_large=False) for sample in samples]
    scored = sum(number for _, number in [*wasted, *harmful])
    tasks = len(samples)
    large, steps = sum(sample.large_steps for sample in samples), sum(sample.steps for sample in samples)
    wasted_share, harmful_share = _share(wasted), _share(harmful)
    return {
        "looked_at": looked,
        "unscored": looked - scored,
        "large_looked_at": sum(number for _, number in wasted),
        "wasted_large_steps": wasted_share,
        "wasted_per_task": _times(wasted_share, large / tasks),
        "small_looked_at": sum(number for _, number in harmful),
        "harmful_small_steps": harmful_share,
        "harmful_per_task": _times(harmful_share, (steps - large) / tasks),
    }


def _counts(sample: Sample, *, is_large: bool) -> tuple[int, int]:
    """Return how many of a run's scored steps by the one engine were a mistake, and how many there are."""
    scored = [
        (kept, other)
        for large, kept, other in sample.compared
        if large is is_large and kept is not None and other is not None
    ]
    wrong = sum(other >= kept if is_large else other > kept for kept, other in scored)
    return wrong, len(scored)


def _share(counts: Sequence[tuple[int, int]]) -> Interval | None:
    wrong, number = sum(each for each, _ in counts), sum(each for _, each in counts)
    if not number:
        return None
    if wrong in (0, number):
        return wilson(wrong, number)
    low, high = ratio_quantiles([each for each, _ in counts], [each for _, each in counts], [0.025, 0.975])
    return Interval(wrong / number, low, high)


def _times(share: Interval | None, number: float) -> Interval | None:
    return None if share is None else Interval(*(number * each for each in share))
