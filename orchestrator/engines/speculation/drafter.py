"""The frame of all training-free drafters: sources in order, one policy of length, and what became of every draft.

Source: Hierarchy Drafting: sources are tried from the most to the least local, the first that has a guess is taken.
Differs: which sources, and in which order, is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from orchestrator.engines.speculation import LENGTHS, SOURCES
from orchestrator.engines.speculation.lengths.base import Length
from orchestrator.engines.speculation.named import made
from orchestrator.engines.speculation.rows import Ids, Row, Rows
from orchestrator.engines.speculation.sources.base import Source

__all__ = ["Drafter", "Tally"]

HIERARCHY = ("ngrams", "suffix", "trigrams")
"""The row itself, what this engine wrote before, and statistics of everything: most local first."""
LIMIT_S = 0.05
"""Time for the drafts of one call; rows that are left over have none."""


@dataclass(slots=True)
class Tally:
    """What one source did."""

    drafts: int = 0
    drafted: int = 0
    """Tokens."""
    accepted: int = 0
    """Tokens; the one that the engine adds to each draft is left out."""


class Drafter:
    """A drafter of token ids as vLLM's `custom_class` hook wants it.

    Options come from `additional_config["drafter"]` of the server: `sources` (names or [name, options] in order),
    `length` (likewise, one), `limit_s`. Raises UnknownName, listing what exists, TypeError for an option that the
    named one does not have, or ValueError for one out of its range: the server then does not start.
    """

    def __init__(self, vllm_config: Any) -> None:
        given = dict((vllm_config.additional_config or {}).get("drafter", {}))
        most = int(vllm_config.speculative_config.num_speculative_tokens)
        self.most = most
        self.limit_s = float(given.pop("limit_s", LIMIT_S))
        self.sources: list[Source] = [made(each, "draft_sources", SOURCES) for each in given.pop("sources", HIERARCHY)]
        self.length: Length = made(given.pop("length", "feedback"), "draft_lengths", LENGTHS, most=most)
        if given:
            raise TypeError(f"the drafter has no option {', '.join(given)}; known: sources, length, limit_s")
        self.tallies = [Tally() for _ in self.sources]
        self._rows = Rows(self._finish)

    def load_model(self, *_: Any, **__: Any) -> None:
        """Load nothing; the server's CPU runner calls this unconditionally."""

    def propose(
        self,
        sampled_token_ids: Sequence[Sequence[int]],
        num_tokens_no_spec: Sequence[int],
        token_ids_cpu: Ids,
        *_: Any,
        **__: Any,
    ) -> list[list[int]]:
        """Return a draft for each row, at most `most` tokens long; none for a row whose prompt is still being read."""
        started = perf_counter()
        rows = self._rows.follow(sampled_token_ids, num_tokens_no_spec, token_ids_cpu)
        for row in rows:
            self._learn(row)
        drafts = []
        for row in rows:
            late = perf_counter() - started > self.limit_s
            row.draft = [] if late or not row.num_new else self._draft(row, rows)
            drafts.append(row.draft)
        return drafts

    def _learn(self, row: Row) -> None:
        if not row.num_new:
            return
        if row.draft:
            accepted = min(row.num_new - 1, len(row.draft))
            tally = self.tallies[row.source]
            tally.accepted += accepted
            self.length.observe(row, len(row.draft), accepted)
        for source in self.sources:
            source.learn(row)

    def _draft(self, row: Row, rows: Sequence[Row]) -> list[int]:
        limit = min(self.most, self.length.choose(row, len(rows)))
        if limit <= 0:
            return []
        for place, source in enumerate(self.sources):
            if draft := source.draft(row, rows, limit):
                row.source = place
                self.tallies[place].drafts += 1
                self.tallies[place].drafted += len(draft)
                return draft
        return []

    def _finish(self, row: Row) -> None:
        for source in self.sources:
            source.finish(row)
