"""What decides on the length of drafts."""

from __future__ import annotations

from typing import Protocol

from orchestrator.engines.speculation.rows import Row

__all__ = ["Length"]


class Length(Protocol):
    """Chooses how many tokens to draft, and is told what became of them."""

    def choose(self, row: Row, batch: int) -> int:
        """Return the most tokens to draft for the row, 0 for none; `batch` rows are served together."""

    def observe(self, row: Row, drafted: int, accepted: int) -> None:
        """Take note that the first `accepted` of `drafted` tokens, at least one, stood."""
