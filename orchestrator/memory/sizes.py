"""What a journal weighs: its files, its tables, its texts, and what could be given back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from orchestrator.memory.store import Store

__all__ = ["Size", "Weight", "size_of"]


class Weight(NamedTuple):
    """One table with its indexes."""

    rows: int
    bytes: int | None
    """None where this SQLite cannot say (it has no dbstat)."""


class Size(NamedTuple):
    """What a journal weighs; everything in bytes unless named otherwise."""

    files: Mapping[str, int]
    """Name -> bytes of every file whose name begins with the journal's, the journal first."""
    tables: Mapping[str, Weight]
    """The heaviest first; those of the search for words count to `behavior_words` and `retired_words`."""
    texts: int
    """What texts weigh, each once."""
    free: int
    """Pages that hold nothing: what a vacuum gives back at least."""
    oldest_s: float | None
    """When the oldest run began, seconds since the epoch; None where there is no run."""
    pruned: int
    """Runs that were ever pruned."""


_TABLES = "SELECT name, tbl_name FROM main.sqlite_master WHERE type = 'table' AND sql NOT NULL"
_BYTES = """
    SELECT tbl_name, sum(pgsize) FROM dbstat('main', 1) AS page
    JOIN main.sqlite_master AS named ON named.name = page.name GROUP BY tbl_name
"""


def size_of(store: Store) -> Size:
    """Measure the file of `store`, and the files beside it."""
    with store.reading() as connection:
        bytes_of = _table_bytes(connection)
        names = [name for name, _ in connection.execute(_TABLES) if not name.startswith("sqlite_")]
        tables = {
            name: Weight(
                connection.execute(f'SELECT count(*) FROM main."{name}"').fetchone()[0],
                None if bytes_of is None else bytes_of.get(name, 0),
            )
            for name in names
            if not name.endswith("_terms")  # a view of the words, without rows of its own
        }
        pages, page_bytes = (
            connection.execute(f"PRAGMA main.{name}").fetchone()[0] for name in ("freelist_count", "page_size")
        )
        return Size(
            _files(store.path),
            dict(sorted(tables.items(), key=lambda each: (-(each[1].bytes or 0), -each[1].rows))),
            connection.execute("SELECT ifnull(sum(length(CAST(text AS BLOB))), 0) FROM texts").fetchone()[0],
            pages * page_bytes,
            connection.execute("SELECT min(created_s) FROM runs").fetchone()[0],
            connection.execute("SELECT ifnull(sum(runs), 0) FROM prunings").fetchone()[0],
        )


def _table_bytes(connection: sqlite3.Connection) -> dict[str, int] | None:
    try:
        return dict(connection.execute(_BYTES).fetchall())
    except sqlite3.OperationalError as error:
        if "dbstat" not in str(error):
            raise
        return None


def _files(path: str) -> dict[str, int]:
    journal = Path(path)
    found = [each for each in journal.parent.iterdir() if each.name.startswith(journal.name) and each.is_file()]
    return {each.name: os.stat(each).st_size for each in sorted(found, key=lambda each: each.name)}
