"""Behaviors by their words: BM25 over names, instructions and sections.

Of a long question only the rarest words are looked up: they are what tells behaviors apart, and scoring every row
that holds a common one would take a second. Rare is what few of those behaviors hold that may be found.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from itertools import accumulate

from orchestrator.errors import StoreError
from orchestrator.memory.word_index import Index, id_in, span, topic

__all__ = ["MAX_TERMS", "found_by_words"]

MAX_TERMS = 8
"""Words of a question that are looked up."""
_MAX_ROWS = 2_000
"""Rows that the words looked up may touch together; scoring takes some microseconds a row."""
_MAX_WORDS = 512
"""Words of a question that are looked at."""

_ROWS = "FROM {index} WHERE {index} MATCH :match AND rowid BETWEEN :first AND :last"
_COUNT = f"SELECT count(*) FROM (SELECT 1 {_ROWS} LIMIT {_MAX_ROWS + 1})"
_BEST = f"SELECT rowid, -rank {_ROWS} AND rank MATCH 'bm25(2.0, 1.0, 1.0, 0.0)' ORDER BY rank LIMIT :limit"
"""A name weighs twice as much as the rest, and of which section a row is nothing."""


def found_by_words(
    connection: sqlite3.Connection,
    handbook: int,
    question: str,
    limit: int,
    sections: Sequence[str] = (),
    index: Index = "behavior_words",
) -> list[tuple[int, float]]:
    """Return ids and scores, best first, at most `limit`; equal scores by id. With `sections`, only of those.

    A score is above 0 and means something beside others of the same question only: how rare a word is, it takes from
    all handbooks of the file. Raises StoreError where the file was made by a Python whose SQLite cannot search.
    """
    among = _Among(connection, handbook, sections, index)
    try:
        words = among.rarest(question)
        rows = among.best(words, limit) if words else []
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):
            raise
        raise StoreError(
            "this file cannot be searched by words (SQLite without FTS5 made it): export the handbook, and import it "
            "into a new file with another Python"
        ) from error
    return sorted(((id_in(row), score) for row, score in rows), key=lambda each: (-each[1], each[0]))


class _Among:
    """The behaviors of one index that may be found: those of a handbook, of some sections if there are any given."""

    def __init__(self, connection: sqlite3.Connection, handbook: int, sections: Sequence[str], index: Index) -> None:
        self._connection, self._index = connection, index
        self._first, self._last = span(handbook)
        topics = " OR ".join(f'"{topic(each)}"' for each in sections)
        self._match = f"({{}}) AND topic : ({topics})" if topics else "{}"

    def rarest(self, question: str) -> list[str]:
        """Return the rarest words of a question, as many as few behaviors hold; at least one that any does."""
        words = list(dict.fromkeys(re.findall(r"[^\W_]+", question.casefold())))[:_MAX_WORDS]
        counts = {word: self._count(word) for word in words}
        known = sorted((word for word in words if counts[word]), key=lambda word: (counts[word], word))[:MAX_TERMS]
        touched = [*accumulate(counts[word] for word in known)]
        return [word for word, rows in zip(known, touched, strict=True) if rows <= _MAX_ROWS] or known[:1]

    def best(self, words: Sequence[str], limit: int) -> list[tuple[int, float]]:
        """Return rows that hold any of the words, with their scores."""
        return self._select(_BEST, words, limit).fetchall()

    def _count(self, word: str) -> int:
        """Return how many behaviors hold a word in any of its forms, counting no further than makes it common."""
        # The index holds stems, and only it knows how it stems: a word is counted by asking for it.
        return int(self._select(_COUNT, [word]).fetchone()[0])

    def _select(self, query: str, words: Sequence[str], limit: int = 0) -> sqlite3.Cursor:
        match = self._match.format(" OR ".join(f'"{word}"' for word in words))
        given = {"match": match, "first": self._first, "last": self._last, "limit": limit}
        return self._connection.execute(query.format(index=self._index), given)
