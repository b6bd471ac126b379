"""What followed the row's longest end in this row or in earlier outputs, as far as it went on alike.

Source: SuffixDecoding, arXiv:2411.04975: match the longest suffix, follow the most frequent child while its estimated
probability is at least 0.1, draft at most as many tokens as were matched, depth 24. Differs: matches begin at two
tokens; earlier outputs are a ring of tokens with an index of token pairs instead of a tree, of which each pair
remembers the last 64 places; the row's own text is searched rather than indexed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf

import numpy as np

from orchestrator.engines.speculation.matching import END, LEAST, Places, after_pair, longest, voted
from orchestrator.engines.speculation.rows import Ids, Row
from orchestrator.engines.speculation.sources.base import Source

__all__ = ["Past", "Suffix"]

DEEPEST = 24
PLACES = 64
"""Of one pair of tokens that are remembered, the newest."""


class Past:
    """The last `capacity` tokens of finished outputs, oldest forgotten first, with an index of token pairs."""

    def __init__(self, capacity: int) -> None:
        self.ids: Ids = np.full(capacity, END, dtype=np.int32)
        self._total = 0
        self._index: dict[tuple[int, int], deque[int]] = {}

    def add(self, tokens: Sequence[int]) -> None:
        """Remember a finished output."""
        for token in [*tokens, END]:
            place = self._total % len(self.ids)
            if self._total >= len(self.ids):
                self._forget(place)
            self.ids[place] = token
            if place >= LEAST:
                first, second = int(self.ids[place - 2]), int(self.ids[place - 1])
                if END not in (first, second, token):
                    self._index.setdefault((first, second), deque(maxlen=PLACES)).append(place)
            self._total += 1

    def _forget(self, place: int) -> None:
        """Take what is about to be written over out of the index: the match that ends there and the two after it."""
        for each in range(place, min(place + LEAST + 1, len(self.ids))):
            if each >= LEAST:
                pair = int(self.ids[each - 2]), int(self.ids[each - 1])
                if (places := self._index.get(pair)) and places[0] == each:
                    places.popleft()
                    if not places:
                        del self._index[pair]

    def after_pair(self, pair: Ids) -> Places:
        """Return where the pair was followed by something."""
        return np.asarray(self._index.get((int(pair[0]), int(pair[1])), ()), dtype=np.intp)


class Suffix(Source):
    """Drafts from earlier outputs and from the row's own text, whichever matches longer.

    `capacity` is in tokens; `factor` is how many tokens are drafted for each that matched.
    """

    def __init__(self, capacity: int = 1 << 18, least_share: float = 0.1, factor: float = 1.0) -> None:
        if capacity < 1:
            raise ValueError(f"capacity = {capacity} must be at least 1")
        if not 0 <= least_share <= 1:
            raise ValueError(f"least_share = {least_share} must be from 0 to 1")
        if not 0 < factor < inf:
            raise ValueError(f"factor = {factor} must be above 0, and finite")
        self.past = Past(capacity)
        self.least_share = least_share
        self.factor = factor

    def finish(self, row: Row) -> None:
        """Remember its output."""
        self.past.add(row.ids[row.num_prompt :].tolist())

    def draft(self, row: Row, rows: Sequence[Row], limit: int) -> list[int]:
        """Return the continuation of the longest match; of earlier outputs where both are equally long."""
        ids = row.ids
        if len(ids) < LEAST:
            return []
        pair = ids[-LEAST:]
        past, of_past = self._longest(self.past.ids, self.past.after_pair(pair), ids)
        own, of_own = self._longest(ids, after_pair(ids, pair), ids)
        text, places, matched = (self.past.ids, past, of_past) if of_past >= of_own else (ids, own, of_own)
        return voted(text, places, min(limit, int(self.factor * matched)), self.least_share)

    def _longest(self, text: Ids, places: Places, context: Ids) -> tuple[Places, int]:
        return longest(text, places, context, DEEPEST) if len(places) else (places, 0)
