"""The tokens that most often followed the last two in everything served, with a bonus for what was seldom tried.

Source: ADED, "Adaptive Draft-Verification": a tri-gram table that is brought up to date as tokens are served, and
drafts that balance the likeliest token against seldom drafted ones. Differs: a chain rather than a tree, because the
engine verifies no tree; the bonus is sqrt(log(all drafts of the pair + 1) / (1 + drafts of the token)) times `bonus`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, sqrt

from orchestrator.engines.speculation.rows import Row
from orchestrator.engines.speculation.sources.base import Source

__all__ = ["TriGrams"]

Pair = tuple[int, int]


class TriGrams(Source):
    """Drafts from counts of three tokens in a row.

    Counts of a pair are halved when they reach `cap`, so that what was served long ago fades; at most
    `most_pairs` pairs are kept, the oldest forgotten first.
    """

    def __init__(self, bonus: float = 0.05, cap: int = 64, most_pairs: int = 200_000) -> None:
        if not 0 <= bonus < inf:
            raise ValueError(f"bonus = {bonus} must be at least 0, and finite")
        if cap < 1 or most_pairs < 1:
            raise ValueError(f"cap = {cap} and most_pairs = {most_pairs} must be at least 1")
        self.bonus = bonus
        self.cap = cap
        self.most_pairs = most_pairs
        self._counts: dict[Pair, dict[int, float]] = {}
        self._tried: dict[Pair, dict[int, int]] = {}

    def count(self, first: int, second: int, third: int) -> float:
        """Return how often the three were seen, old sights fading."""
        return self._counts.get((first, second), {}).get(third, 0.0)

    def learn(self, row: Row) -> None:
        """Count every three tokens whose last is new."""
        tokens = row.ids[-row.num_new - 2 :].tolist()
        for first, second, third in zip(tokens, tokens[1:], tokens[2:], strict=False):
            found = self._counts.setdefault((first, second), {})
            found[third] = found.get(third, 0.0) + 1
            if found[third] >= self.cap:
                for token in found:
                    found[token] /= 2
        while len(self._counts) > self.most_pairs:
            oldest = next(iter(self._counts))
            del self._counts[oldest]
            self._tried.pop(oldest, None)

    def draft(self, row: Row, rows: Sequence[Row], limit: int) -> list[int]:
        """Return the chain of best scores; it ends at a pair that was never seen."""
        if len(row.ids) < 2:
            return []
        first, second = row.ids[-2:].tolist()
        draft: list[int] = []
        while len(draft) < limit and (found := self._counts.get((first, second))):
            tried = self._tried.setdefault((first, second), {})
            total, tries = sum(found.values()), log(sum(tried.values()) + 1)
            token = max(
                found, key=lambda each: found[each] / total + self.bonus * sqrt(tries / (1 + tried.get(each, 0)))
            )
            tried[token] = tried.get(token, 0) + 1
            draft.append(token)
            first, second = second, token
        return draft
