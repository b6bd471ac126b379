"""Stop thinking when an answer that has to be given at once would be given with confidence.

The engine that wrote the last step is made to answer behind it. How sure it was is the geometric mean of the
probabilities of the answer's tokens, exp(mean logprob), in (0, 1]; from `threshold` on the thought is closed there.

Source: DEER, arXiv:2504.15895: a trial answer where the thought would turn ("Wait"), exit above 0.95. Differs:
- a look costs tokens, so by default it is taken where the thought first states what may be the answer, which is before
  the re-check begins; `cues` looks behind the step that begins to doubt, so one step later than the paper, and `steps`
  behind any;
- an answer that was never closed counts as none, and nothing is cut for it;
- exactly at the threshold the thought ends;
- the number of looks is limited (`max_looks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from orchestrator.doors import Ask, Needs
from orchestrator.errors import SignalUnavailable
from orchestrator.monitors.exits import OVERTHINKING, When, check_looks, is_place, told
from orchestrator.options import check_range
from orchestrator.types import Event, History

__all__ = ["TrialAnswer"]

NAME = "trial-answer"


@dataclass(frozen=True, kw_only=True)
class TrialAnswer:
    """Raise `overthinking` where a trial answer has a confidence of at least `threshold`."""

    threshold: float = 0.95
    """In [0, 1.01]: above 1 nothing is ever cut."""
    when: When = "candidates"
    every: int = 1
    """Looks behind each so-manyth of the steps that `when` means."""
    max_looks: int = 100
    """In a thought."""
    acts: bool = True
    """False: look and record, and let the thought go on."""

    needs = Needs(logprobs=1)
    raises = (OVERTHINKING,)

    def __post_init__(self) -> None:
        check_looks(NAME, self)
        check_range(NAME, self, threshold="[0, 1.01] (a confidence is in [0, 1])")

    async def look(self, history: History, ask: Ask) -> Event | None:
        """Force an answer and see how sure the engine was. Raises SignalUnavailable where it does not say."""
        if not is_place(history, NAME, self):
            return None
        engine = history.steps[-1].writer
        trial, *_ = await ask.trials(engine, num=1)
        if trial.answer is None:
            return Event(NAME, "it has no answer yet", value=0.0, threshold=self.threshold)
        if trial.logprob is None or trial.logprob != trial.logprob:
            raise SignalUnavailable(NAME, f"engine {engine!r} shows no logprobs of its answers")
        confidence = exp(trial.logprob)
        seen = f"it would answer {trial.answer[:40]!r} with confidence {confidence:.3g}"
        look = Event(NAME, seen, value=confidence, threshold=self.threshold, answer=trial.answer)
        return told(look, history, exits=self.acts and confidence >= self.threshold, why=seen)

    def scores(self, looks: Sequence[Event]) -> list[float]:
        """Return what the threshold is held against at each of the looks of a thought: their readings."""
        return [look.value or 0.0 for look in looks]
