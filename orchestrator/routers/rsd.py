"""Keep a draft whose score is high enough, whatever the large engine would make of the step.

The small engine drafts, a process reward model scores the draft in [0, 1], and the draft stands when the score is at
least `threshold`. The large engine is called for rejected steps only, and never reads the others.

Source: RSD (reward-guided speculative decoding), arXiv:2501.19324, and the authors' code: the binary rule with
delta 0.7, kept from delta on, 100 steps a run, 4,096 tokens a step. Differs from the code:
- any scorer may stand in for the reward model (`scorer`), e.g. the large engine as the judge;
- a score that cannot be read is a recorded decision (`on_unreadable`), by default a rejection;
- at the ends no score is asked for: a threshold of 0 keeps every draft, one above 1 lets the large engine write all;
- with more than two engines a rejected step goes to the largest, or to the next one (`to`);
- its `patience` counted rounds of a batch without progress and has no counterpart: a run here is one task, and the
  monitor `stalled` ends it at a repeat;
- engines sample as the pipeline says (there temperature 0).
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.decisions import Decision, Plan, StopRun, keep, stop
from orchestrator.doors import Ask, Needs
from orchestrator.errors import SignalUnavailable
from orchestrator.options import check_choice, check_range, check_texts, check_whole
from orchestrator.routers.rejection import (
    ON_UNREADABLE,
    TARGETS,
    OnUnreadable,
    Target,
    target,
    unread,
    verdict,
)
from orchestrator.types import History, Status, Step

__all__ = ["RSD"]


@dataclass(frozen=True, kw_only=True)
class RSD:
    """Keep a draft scored at least `threshold`; otherwise a larger engine writes the step."""

    threshold: float = 0.7
    """The paper's delta, in [0, 1.01]: 0 keeps every draft, above 1 no draft is written."""
    scorer: str = "prm"
    """Who scores."""
    on_unreadable: OnUnreadable = "reject"
    """What a draft without a score gets."""
    to: Target = "largest"
    """Who writes a rejected step, with more than two engines."""
    max_steps: int = 100
    """The run ends with status `budget` when it has kept as many."""
    step_tokens: int = 4096
    """Tokens one step may have."""

    def __post_init__(self) -> None:
        check_range("rsd", self, threshold="[0, 1.01] (a score is in [0, 1])")
        check_texts("rsd", self, scorer="name a scorer, e.g. prm")
        check_choice("rsd", self, on_unreadable=ON_UNREADABLE, to=TARGETS)
        check_whole("rsd", self, max_steps=1, step_tokens=1)

    @property
    def needs(self) -> Needs:
        """Two engines, and the scorer wherever a score can decide."""
        return Needs(scorers=(self.scorer,) if 0 < self.threshold <= 1 else (), engines=2)

    def before_step(self, history: History) -> Plan | StopRun:
        """Draft with the small engine; above 1 no draft could stand."""
        if len(history.steps) >= self.max_steps:
            return stop(status=Status.BUDGET, reason=f"{self.max_steps} steps are kept")
        if self.threshold > 1:
            return Plan(engine=history.large, max_tokens=self.step_tokens, reason="no score is above 1")
        return Plan(engine=history.small, max_tokens=self.step_tokens)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Keep or rewrite by the score alone."""
        larger = target(history, draft.writer, self.to)
        if larger is None:
            return keep(reason="written by the large engine")
        if self.threshold == 0:
            return keep(reason="every score is at least 0", threshold=0.0)
        try:
            score = await ask.score(self.scorer, draft)
        except SignalUnavailable as missing:
            return unread(larger, missing, self.on_unreadable, self.threshold)
        assert score.value is not None
        margin = score.value - self.threshold
        stands = margin >= 0
        reason = "scored high enough" if stands else "scored too low"
        return verdict(larger, score, stands=stands, reason=reason, threshold=self.threshold, margin=margin)
