"""What this Python's SQLite can do, for `doctor`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import NamedTuple

__all__ = ["SqliteFeatures", "sqlite_features"]


class SqliteFeatures(NamedTuple):
    """Version of the library, and whether it searches texts (FTS5), which the handbook needs."""

    version: str
    has_fts5: bool


def sqlite_features() -> SqliteFeatures:
    """Try in memory what the store needs."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE texts USING fts5(text)")
        except sqlite3.OperationalError:
            return SqliteFeatures(sqlite3.sqlite_version, False)
        return SqliteFeatures(sqlite3.sqlite_version, True)
