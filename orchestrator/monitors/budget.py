"""Warn while there is still something to spend: a share of the tokens is used up.

It warns and stops nothing: hard limits are the budget's (`types.Budget`) and the mode's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.errors import UserError
from orchestrator.options import check_lists, check_range, check_whole
from orchestrator.types import Event, History

__all__ = ["Spent"]


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Raise `budget` once for each mark that the kept steps' tokens, or their tokens of thought, come to."""

    tokens: int | None = None
    """What the kept steps may have, None for no limit. What was discarded does not count."""
    thought_tokens: int | None = None
    """What the thoughts among them may have; None: what the run's mode allows."""
    marks: Sequence[float] = (0.5, 0.8, 0.95)
    """Shares of a limit, in (0, 1]. Of several that one step comes to, the last is told."""

    raises = ("budget",)

    def __post_init__(self) -> None:
        check_whole("monitor budget", self, tokens=1, thought_tokens=1)
        check_lists("monitor budget", self, marks="shares")
        if not self.marks:
            raise UserError("monitor budget: marks is empty: give shares, such as [0.8]")
        for mark in self.marks:
            check_range("monitor budget", {"marks": mark}, marks="(0, 1]")

    def watch(self, history: History) -> Event | None:
        """Hold what is spent against the limits; where both come to a mark, one is told a step later."""
        thinking = self.thought_tokens or (history.mode and history.mode.budget)
        limits = (("tokens", history.num_tokens, self.tokens), ("tokens of thought", history.thought_tokens, thinking))
        for what, num, limit in limits:
            reached = [mark for mark in self.marks if limit and num >= mark * limit]
            told = [e.threshold or 0 for e in history.events if e.kind == "budget" and e.reason.startswith(f"{what}:")]
            if limit and reached and max(reached) > max(told, default=0):
                reason = f"{what}: {num:,} of {limit:,} spent"
                return Event("budget", reason, value=num / limit, threshold=max(reached))
        return None
