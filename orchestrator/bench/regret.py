"""How often was the choice of a step's writer a wrong one?  Estimated from the steps that were looked at.

A large step is wasted if the small engine's was as good; a small step is harmful if the large engine's would have
been better. Better is what the scorer says of the step alone: what comes of it later is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from orchestrator.bench.resampling import ratio_interval
from orchestrator.bench.sample import Sample
from orchestrator.intervals import Interval, wilson

__all__ = ["regret"]

FEW = 10
"""With fewer tasks than these the bootstrap over tasks knows less than it says."""


class _Counts(NamedTuple):
    """Of the steps of one run that the one engine wrote and that were looked at."""

    looked: int
    scored: int
    """Those with both scores."""
    wrong: int
    """Those of them that were a mistake."""


def regret(samples: Sequence[Sample], looked_share: float | None = None) -> dict[str, Any] | None:
    """Return the shares of wasted large steps and of harmful small steps with 95% intervals, None if nothing was
    looked at.

    `looked_share` is the chance of a step to be looked at: a step that was stands for 1 / looked_share steps, which
    gives the numbers per task; without it they are None. Steps that cannot be looked at, as answers and steps that a
    runtime forced, are in neither.

    Source: the percentile bootstrap over tasks, because steps of a task are alike; a draw without such a step is left
    out. Wilson's interval, a task one observation, where there are fewer than FEW tasks with such steps, or where all
    or none are wrong: the bootstrap would be surer than it can be.
    """
    looked = sum(len(sample.compared) for sample in samples)
    if not looked:
        return None
    wasted = [_counts(sample, is_large=True) for sample in samples]
    harmful = [_counts(sample, is_large=False) for sample in samples]
    return {
        "looked_at": looked,
        "unscored": looked - sum(each.scored for each in [*wasted, *harmful]),
        "large_looked_at": sum(each.scored for each in wasted),
        "wasted_large_steps": _share(wasted),
        "wasted_per_task": _per_task(wasted, looked_share),
        "small_looked_at": sum(each.scored for each in harmful),
        "harmful_small_steps": _share(harmful),
        "harmful_per_task": _per_task(harmful, looked_share),
    }


def _counts(sample: Sample, *, is_large: bool) -> _Counts:
    looked = [(kept, other) for large, kept, other in sample.compared if large is is_large]
    scored = [(kept, other) for kept, other in looked if kept is not None and other is not None]
    wrong = sum(other >= kept if is_large else other > kept for kept, other in scored)
    return _Counts(len(looked), len(scored), wrong)


def _share(counts: Sequence[_Counts]) -> Interval | None:
    scored, wrong = sum(each.scored for each in counts), sum(each.wrong for each in counts)
    if not scored:
        return None
    found = (
        None if _is_thin(counts) else ratio_interval([each.wrong for each in counts], [each.scored for each in counts])
    )
    tasks = sum(bool(each.scored) for each in counts)
    return found or wilson(tasks * wrong / scored, tasks)


def _is_thin(counts: Sequence[_Counts]) -> bool:
    scored, wrong = sum(each.scored for each in counts), sum(each.wrong for each in counts)
    return sum(bool(each.scored) for each in counts) < FEW or wrong in (0, scored)


def _per_task(counts: Sequence[_Counts], looked_share: float | None) -> Interval | None:
    """Return the mistakes of a task, the sampling of its steps in the interval."""
    share = _share(counts)
    if share is None or not looked_share:
        return None
    ones = [1.0] * len(counts)
    eligible = ratio_interval([each.looked / looked_share for each in counts], ones)
    assert eligible is not None  # a mean exists in every draw
    if _is_thin(counts):
        return Interval(*(one * other for one, other in zip(share, eligible, strict=True)))
    looked_per_scored = sum(each.looked for each in counts) / sum(each.scored for each in counts)
    return ratio_interval([each.wrong * looked_per_scored / looked_share for each in counts], ones)
