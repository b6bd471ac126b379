"""A router that somebody else wrote: a draft stands if it is short."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.decisions import Decision, keep, rewrite
from orchestrator.doors import Ask, Needs
from orchestrator.errors import UserError
from orchestrator.types import History, Step

__all__ = ["KeepShort"]


@dataclass(frozen=True, kw_only=True)
class KeepShort:
    """Keep a draft of at most `longest` tokens."""

    needs = Needs(engines=2)
    longest: int = 24

    def __post_init__(self) -> None:
        if self.longest < 0:
            raise UserError(f"keep-short: longest = {self.longest!r} must be at least 0")

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Count tokens; no signal is asked for."""
        margin = self.longest - draft.num_tokens
        if margin >= 0:
            return keep(reason="short", threshold=self.longest, margin=margin)
        return rewrite(history.large, reason="long", threshold=self.longest, margin=margin)
