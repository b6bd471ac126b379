"""Keep the better of two steps: what a router would decide that knew both before either was paid for.

The small engine drafts; unless no step could be enough better, the large engine writes the same step
too, from the same prefix, and whoever verifies scores both. The large engine's step is taken where its
advantage, its score less the draft's, is above `threshold`. So both engines run: this is a control for
experiments, the best that routing by such scores can do for a number of escalations, and it saves
nothing. Needs a scorer called `verifier`, which a workload with an exact step check brings, or,
noisier, `prm`.

Source: Arbitrage, arXiv:2512.05033: the oracle a* = 1[advantage > threshold].
Differs: where the draft's score leaves no room for an advantage above the threshold no alternative is
asked for, which changes no decision; the same text has the same score, where a reward model that is
asked twice may differ in a last digit; a draft or an alternative without a score is the large engine's
to write, as a recorded decision; tokens of alternatives that are not taken count against the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.decisions import Decision, keep, rewrite
from orchestrator.doors import Ask, Needs
from orchestrator.errors import SignalUnavailable
from orchestrator.options import check_range
from orchestrator.types import History, Step

__all__ = ["Oracle"]


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Take the large engine's step where it scores more than `threshold` above the draft; a tie keeps the draft."""

    scorer: Literal["verifier", "prm"] = "verifier"
    threshold: float = 0.0
    """Difference of two scores, in [-1, 1]."""

    @property
    def needs(self) -> Needs:
        """Two engines, and whoever verifies."""
        return Needs(scorers=(self.scorer,), engines=2)

    def __post_init__(self) -> None:
        check_range("oracle", self, threshold="[-1, 1] (scores differ by that much)")

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Compare the draft with what the large engine writes in its place. Raises EngineError if that fails."""
        try:
            score = await ask.score(self.scorer, draft)
        except SignalUnavailable as missing:
            return rewrite(history.large, reason=str(missing))
        assert score.value is not None
        room = 1 - score.value
        if room <= self.threshold:
            margin = room - self.threshold
            return keep(score, reason="no step can be enough better", threshold=self.threshold, margin=margin)
        target = await ask.alternative(history.large, draft)
        try:
            other = score if target.text == draft.text else await ask.score(self.scorer, target)
        except SignalUnavailable as missing:
            return rewrite(history.large, score, reason=str(missing), alternatives=("keep",))
        assert other.value is not None
        advantage = other.value - score.value
        margin = advantage - self.threshold
        if advantage > self.threshold:
            why = f"the large engine's step scores {advantage:+.3g}"
            return rewrite(
                history.large, score, other, reason=why, threshold=self.threshold, margin=margin, alternatives=("keep",)
            )
        why = f"the large engine's step scores {advantage:+.3g}, not enough"
        return keep(score, other, reason=why, threshold=self.threshold, margin=margin, alternatives=("rewrite",))
