"""Longer drafts after one that stood as a whole, shorter ones after one that did not.

Source: the adaptive draft-length controller of DiffuSpec. Differs: a row's length grows by `step` and shrinks to the
mean of what it was and what came back, where the paper follows two running means.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from orchestrator.engines.speculation.rows import Row

__all__ = ["Feedback"]


class Feedback:
    """Keeps a length for each row, from 1 to `most`; a new row begins in the middle."""

    def __init__(self, most: int, step: int = 2) -> None:
        if step < 1:
            raise ValueError(f"step = {step} must be at least 1")
        self.most = most
        self.step = step
        self._lengths: WeakKeyDictionary[Row, int] = WeakKeyDictionary()

    def choose(self, row: Row, batch: int) -> int:
        """Return the row's length."""
        return self._lengths.get(row, (self.most + 1) // 2)

    def observe(self, row: Row, drafted: int, accepted: int) -> None:
        """Grow or shrink the row's length. A draft that ended before its length says nothing against growing."""
        length = self.choose(row, 1)
        grown = length + self.step if accepted == drafted else (length + accepted + 1) // 2
        self._lengths[row] = min(self.most, max(1, grown))
