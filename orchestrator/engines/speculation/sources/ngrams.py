"""What followed the row's last n tokens earlier in the same row, for the longest n that stood there before.

Source: ANPD, "Adaptive N-gram Parallel Decoding": n-gram tables of several orders, built from the live context,
backed off from the highest order. Differs: the row itself is searched instead of tables, which would have to be made
of thousands of tokens when it is first seen; and it is searched once per draft, the places found are then followed.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engines.speculation.matching import LEAST, after_pair, longest, voted
from orchestrator.engines.speculation.rows import Row
from orchestrator.engines.speculation.sources.base import Source

__all__ = ["NGrams"]


class NGrams(Source):
    """Drafts from the row's own text; `highest` is the longest n that counts as a longer match."""

    def __init__(self, highest: int = 5) -> None:
        if highest < LEAST:
            raise ValueError(f"highest = {highest} must be at least {LEAST}")
        self.highest = highest

    def draft(self, row: Row, rows: Sequence[Row], limit: int) -> list[int]:
        """Return what most often followed the longest end that stood in the row before."""
        ids = row.ids
        if len(ids) < LEAST:
            return []
        places = after_pair(ids, ids[-LEAST:])
        if not len(places):
            return []
        best, _ = longest(ids, places, ids, self.highest)
        return voted(ids, best, limit, least_share=0.0)
