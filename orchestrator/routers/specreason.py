"""Accept a small engine's step when the large one rates it highly enough.

The small engine drafts, the large engine rates the draft with one digit from 0 to 9 in a single
token, and the draft stands when the rating is at least `threshold`. Otherwise the draft is thrown
away and the large engine writes the step from the same prefix.

Source: SpecReason, arXiv:2504.07891, and the authors' script (threshold 7, 512 tokens a step,
8,192 tokens a run, no forced large steps, greedy reading). Differs from the script:
- an unreadable rating is a recorded decision of its own (`on_unreadable`), by default a rejection
  as there, but never a silent 0;
- a process reward model may rate in the place of the large engine (`reading="prm"`; there the large one does);
- judge tokens and rejected drafts count against the pipeline's budget (there they are free);
  `total_tokens` limits kept tokens only, as published;
- `</think>` closes the reasoning (there it is deleted from the step);
- a step that ended by the token limit or by end-of-text is recorded as such, and an empty step or
  an exact repeat ends the run whatever its index (there from the third step on);
- prompts are token ids that extend each other (there chat messages are rendered anew each call).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.decisions import Decision, Plan, StopRun, keep, stop
from orchestrator.doors import Ask, Needs
from orchestrator.errors import SignalUnavailable
from orchestrator.options import check_choice, check_range, check_whole
from orchestrator.routers.rejection import ON_UNREADABLE, OnUnreadable, digits, unread, verdict
from orchestrator.types import History, Status, Step

__all__ = ["SpecReason"]

SCORERS = {"greedy": "judge", "average": "judge-average", "prm": "prm"}


@dataclass(frozen=True, kw_only=True)
class SpecReason:
    """Keep a draft rated at least `threshold` by the large engine; otherwise the large engine writes the step."""

    threshold: float = 7.0
    """In digits: 0 keeps every readable draft, anything above 9 rejects every draft, and pays for its rating, which
    the trace has."""
    first_n: int = 0
    """The first n steps are written by the large engine, without drafts and without ratings."""
    reading: Literal["greedy", "average", "prm"] = "greedy"
    """The emitted digit, the probability-weighted mean of the digits, or what the engine that only measures says."""
    on_unreadable: OnUnreadable = "reject"
    """What a draft without a readable rating gets."""
    step_tokens: int = 512
    """Tokens one step may have."""
    total_tokens: int = 8192
    """The run ends with status `budget` when its kept steps have this many tokens."""

    def __post_init__(self) -> None:
        check_choice("specreason", self, reading=tuple(SCORERS), on_unreadable=ON_UNREADABLE)
        check_whole("specreason", self, first_n=0, step_tokens=1, total_tokens=1)
        check_range("specreason", self, threshold="[0, 10] (ratings are digits 0-9)")

    @property
    def needs(self) -> Needs:
        """Two engines, and whoever rates: every draft is rated, whatever the threshold."""
        return Needs(scorers=(SCORERS[self.reading],), engines=2)

    def before_step(self, history: History) -> Plan | StopRun:
        """Draft with the small engine, except for the first steps."""
        left = self.total_tokens - history.num_tokens
        if left <= 0:
            return stop(status=Status.BUDGET, reason=f"the kept steps have {self.total_tokens} tokens or more")
        max_tokens = min(self.step_tokens, left)
        if len(history.steps) < self.first_n:
            return Plan(engine=history.large, max_tokens=max_tokens, reason=f"one of the first {self.first_n} steps")
        return Plan(engine=history.small, max_tokens=max_tokens)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Keep or rewrite by the large engine's rating."""
        if draft.writer == history.large:
            return keep(reason="written by the large engine")
        try:
            rating = await ask.score(SCORERS[self.reading], draft)
        except SignalUnavailable as missing:
            return unread(history.large, missing, self.on_unreadable, self.threshold)
        margin = digits(rating) - self.threshold
        stands = margin >= 0
        reason = "rated high enough" if stands else "rated too low"
        return verdict(history.large, rating, stands=stands, reason=reason, threshold=self.threshold, margin=margin)
