"""The small engine's step stands exactly when a verifier says so: what a judge that never errs would decide.

Needs a scorer called `verifier`, which a workload with an exact step check brings, or, noisier, `prm`. It is a
control for experiments: whoever can verify every step for free has little need of a large engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.routers.base import Ask, Needs
from orchestrator.types import Decision, History, Step, keep, rewrite

__all__ = ["Oracle"]


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Keep a draft that the verifier scores at least `threshold`; otherwise the large engine writes the step."""

    scorer: Literal["verifier", "prm"] = "verifier"
    threshold: float = 1.0
    """In [0, 1]."""

    @property
    def needs(self) -> Needs:
        """Two engines, and whoever verifies."""
        return Needs(scorers=(self.scorer,), engines=2)

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UserError(f"oracle: threshold = {self.threshold!r} is not in [0, 1]")

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Keep what is right. A step that cannot be verified is the large engine's to write."""
        try:
            score = await ask.score(self.scorer, draft)
        except SignalUnavailable as missing:
            return rewrite(history.large, reason=str(missing))
        assert score.value is not None
        margin = score.value - self.threshold
        if margin >= 0:
            return keep(score, reason="verified", threshold=self.threshold, margin=margin)
        return rewrite(history.large, score, reason="wrong", threshold=self.threshold, margin=margin)
