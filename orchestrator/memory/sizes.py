"""What a journal weighs: its files, its tables, its texts, and what could be given back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
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
    """The heaviest first; an index of words is one, with everything it is made of."""
    texts: int
    """What texts weigh, each once."""
    free: int
    """Pages that hold nothing: what a vacuum gives back at least."""
    oldest_s: float | None
    """When the oldest run began, seconds since the epoch; None where there is no run."""
    pruned: int
    """Runs that were ever pruned."""


_TABLES = """
    SELECT name, sql LIKE 'CREATE VIRTUAL%' FROM main.sqlite_master
    WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_sqlite%' ESCAPE '\\'
"""
_BYTES = """
    SELECT tbl_name, sum(pgsize) FROM dbstat('main', 1) AS page
    JOIN main.sqlite_master AS named ON named.name = page.name GROUP BY tbl_name
"""


def size_of(store: Store) -> Size:
    """Measure the file of `store`, and the files beside it."""
    with store.reading() as connection:
        bytes_of = _table_bytes(connection)
        tables: dict[str, Weight] = {}
        for name, index in _names(connection):
            rows = 0 if index != name and not name.endswith("_docsize") else _rows(connection, name)
            known = tables.get(index, Weight(0, None))
            own = None if bytes_of is None else (known.bytes or 0) + bytes_of.get(name, 0)
            tables[index] = Weight(known.rows + rows, own)
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


def _names(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield every table that has rows, and the index of words that it is a part of, or itself."""
    found = connection.execute(_TABLES).fetchall()
    indexes = [name for name, is_virtual in found if is_virtual]
    for name, is_virtual in found:
        if not is_virtual:
            yield name, next((index for index in indexes if name.startswith(f"{index}_")), name)


def _rows(connection: sqlite3.Connection, table: str) -> int:
    count: int = connection.execute(f'SELECT count(*) FROM main."{table}"').fetchone()[0]
    return count


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
