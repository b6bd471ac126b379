"""Always as many tokens as the server allows: the control of the other policies."""

from __future__ import annotations

from orchestrator.engines.speculation.rows import Row

__all__ = ["Fixed"]


class Fixed:
    """Drafts `most` tokens."""

    def __init__(self, most: int) -> None:
        self.most = most

    def choose(self, row: Row, batch: int) -> int:
        """Return `most`."""
        return self.most

    def observe(self, row: Row, drafted: int, accepted: int) -> None:
        """Learn nothing."""
