"""The token that last followed the last one, and so on.

Source: Token Recycling, a table of each token's candidate successors. Differs, and is weaker: the hook shows no
logits, so the table holds successors that were really written, newest first, instead of the eight likeliest
candidates; and the draft is a chain, because the engine verifies no tree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.engines.speculation.rows import Ids, Row
from orchestrator.engines.speculation.sources.base import Source

__all__ = ["Successors"]

UNKNOWN = -1


class Successors(Source):
    """Drafts from one successor per token; 4 bytes for each id up to the highest that was seen."""

    def __init__(self) -> None:
        self.table: Ids = np.full(1024, UNKNOWN, dtype=np.int32)

    def learn(self, row: Row) -> None:
        """Take note of which token followed which, the newest wins."""
        tokens = row.ids[-row.num_new - 1 :]
        highest = int(tokens.max(initial=0))
        if highest >= len(self.table):
            grown = np.full(max(highest + 1, 2 * len(self.table)), UNKNOWN, dtype=np.int32)
            grown[: len(self.table)] = self.table
            self.table = grown
        self.table[tokens[:-1]] = tokens[1:]

    def draft(self, row: Row, rows: Sequence[Row], limit: int) -> list[int]:
        """Return the chain of successors; it ends at a token that nothing has followed yet."""
        draft: list[int] = []
        token = int(row.ids[-1]) if len(row.ids) else UNKNOWN
        while len(draft) < limit and 0 <= token < len(self.table):
            token = int(self.table[token])
            if token == UNKNOWN:
                break
            draft.append(token)
        return draft
