"""What a source of drafts is."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engines.speculation.rows import Row

__all__ = ["Source"]


class Source:
    """Guesses how a row goes on; a source that remembers nothing beyond the row need only draft."""

    def learn(self, row: Row) -> None:
        """Take note of the last `row.num_new` tokens, which the engine wrote."""

    def finish(self, row: Row) -> None:
        """Take note that nothing will be added to the row."""

    def draft(self, row: Row, rows: Sequence[Row], limit: int) -> list[int]:
        """Return at most `limit` tokens that may follow the row, none where there is no good guess.

        `rows` are all rows of the call.
        """
        raise NotImplementedError
