"""What the policies that may think share: readings, and what a reading makes of a cheap mode.

A cheap mode stands where the reading is at least the threshold, and never where there is no reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import exp

from orchestrator.answers import plain
from orchestrator.doors import Trial
from orchestrator.errors import SignalUnavailable
from orchestrator.modes.base import Chosen
from orchestrator.types import Mode, Signal

__all__ = ["MOST", "THRESHOLDS", "confidence_in", "most_frequent", "reading", "verdict"]

THRESHOLDS = "[0, 1.01] (above 1, every task is thought about)"
"""What a gate's threshold may be."""
MOST = 64
"""Answers that a gate may force."""


def verdict(cheap: Mode, dear: Mode, *signals: Signal, value: float, threshold: float, read: str) -> Chosen:
    """Return `cheap` where the value is at least the threshold, else `dear`; `read` tells people what was read.

    The reason ends by saying that nobody chose the threshold on these engines' own tasks.
    """
    margin = value - threshold
    stands = margin >= 0
    reason = f"{read}: {'at least' if stands else 'below'} {threshold:g}, uncalibrated"
    return Chosen(cheap if stands else dear, reason, signals, threshold, margin)


def reading(name: str, value: float, unit: str) -> Signal:
    """Return a reading as a signal. Raises SignalUnavailable if it is not in [0, 1], which NaN is not."""
    if not 0 <= value <= 1:
        raise SignalUnavailable(name, f"{value!r} is not in [0, 1]")
    return Signal(name=name, value=value, raw=value, unit=unit)


def most_frequent(trials: Sequence[Trial]) -> tuple[str, int]:
    """Return the plain answer that is given most often and how often; the earlier one on a tie, ("", 0) for none."""
    counts = Counter(plain(trial.answer) for trial in trials if trial.answer is not None)
    return counts.most_common(1)[0] if counts else ("", 0)


def confidence_in(answer: str, trials: Sequence[Trial]) -> Signal:
    """Return how sure the engine was of `answer`: the geometric mean of its tokens' probabilities, mean over trials.

    0 where no trial gave that answer. Raises SignalUnavailable where one did and nobody said how sure it was.
    """
    same = [trial for trial in trials if trial.answer is not None and plain(trial.answer) == plain(answer)]
    if not same:
        return reading("confidence", 0.0, "no trial gave this answer")
    known = [exp(min(trial.logprob, 0.0)) for trial in same if trial.logprob is not None]
    if not known:
        raise SignalUnavailable("confidence", "the engine shows no logprobs of its answers")
    return reading("confidence", sum(known) / len(known), "probability per token")
