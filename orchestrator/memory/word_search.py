"""Behaviors by their words: BM25 over names, instructions and sections.

Of a long question only the rarest words are looked up: they are what tells behaviors apart, and scoring every row
that holds a common one would take a second.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from itertools import accumulate
from json import dumps

from orchestrator.errors import StoreError

__all__ = ["MAX_TERMS", "found_by_words"]

MAX_TERMS = 8
"""Words of a question that are looked up."""
_MAX_ROWS = 2_000
"""Rows that the words looked up may touch together; scoring takes some microseconds a row."""
_MAX_WORDS = 512
"""Words of a question that are looked at."""

_COUNT = f"SELECT count(*) FROM (SELECT 1 FROM behavior_words WHERE behavior_words MATCH ? LIMIT {_MAX_ROWS + 1})"
_BEST = """
    SELECT rowid, -rank FROM behavior_words WHERE behavior_words MATCH ? AND rank MATCH 'bm25(2.0, 1.0, 1.0)'
    ORDER BY rank LIMIT ?
"""
"""A name weighs twice as much as the rest. The index sorts by itself: joined to the rows it takes twice as long."""
_WHOSE = "SELECT key, id FROM behaviors WHERE +handbook = ? AND is_active AND key IN (SELECT value FROM json_each(?))"
"""The sign keeps SQLite from reading every row of the handbook by its index."""


def found_by_words(
    connection: sqlite3.Connection, handbook: int, question: str, limit: int, sections: Sequence[str] = ()
) -> list[tuple[int, float]]:
    """Return ids and scores, best first, at most `limit`; equal scores by id. With `sections`, only of those.

    A score is above 0 and means something beside others of the same question only. Raises StoreError where the file
    was made by a Python whose SQLite cannot search.
    """
    words = _rarest(connection, question) if handbook else []  # 0 is one that nobody has written to
    match, looked_at = " OR ".join(f'"{word}"' for word in words), limit
    while words:
        rows = connection.execute(_BEST, (match, looked_at)).fetchall()
        ids = _ids(connection, handbook, [key for key, _ in rows], sections)
        found = [(ids[key], score) for key, score in rows if key in ids]
        if len(found) >= limit or len(rows) < looked_at:  # the others belong elsewhere, or are retired
            return sorted(found, key=lambda each: (-each[1], each[0]))[:limit]
        looked_at *= 8
    return []


def _ids(connection: sqlite3.Connection, handbook: int, keys: Sequence[int], sections: Sequence[str]) -> dict[int, int]:
    """Return the ids of those rows that are active, of this handbook and of these sections."""
    find, values = _WHOSE, [handbook, dumps(keys)]
    if sections:
        find, values = f"{_WHOSE} AND section IN (SELECT value FROM json_each(?))", [*values, dumps(sections)]
    return dict(connection.execute(find, values).fetchall())


def _rarest(connection: sqlite3.Connection, question: str) -> list[str]:
    """Return the rarest words of a question, as many as few behaviors hold; at least one that any does."""
    words = list(dict.fromkeys(re.findall(r"[^\W_]+", question.casefold())))[:_MAX_WORDS]
    try:
        counts = {word: _count(connection, word) for word in words}
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):
            raise
        raise StoreError(
            "this file cannot be searched by words (SQLite without FTS5 made it): export the handbook, and import it "
            "into a new file with another Python"
        ) from error
    known = sorted((word for word in words if counts[word]), key=lambda word: (counts[word], word))[:MAX_TERMS]
    touched = [*accumulate(counts[word] for word in known)]
    return [word for word, rows in zip(known, touched, strict=True) if rows <= _MAX_ROWS] or known[:1]


def _count(connection: sqlite3.Connection, word: str) -> int:
    """Return how many behaviors hold a word in any of its forms, counting no further than makes it common."""
    # The index holds stems, and only it knows how it stems: a word is counted by asking for it.
    return int(connection.execute(_COUNT, (f'"{word}"',)).fetchone()[0])
