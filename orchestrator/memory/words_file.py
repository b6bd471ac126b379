"""The file beside a journal that holds the index of its words, and nothing else: what is in it can be made again.

It is told apart from other programs' files, which stay as they are, and made anew where it is damaged.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from orchestrator.memory.opening import code_of
from orchestrator.memory.sqlite_features import sqlite_features

__all__ = ["Unindexed", "WordsFile", "discard_words", "words_path"]

_APPLICATION_ID = 0x4F524357
"""Marks the file as ours: "ORCW"."""
_FORMAT = 1
_WAIT_S = 60.0
"""How long to wait for another process that indexes: it lets go every few hundred runs."""
_TABLES = (
    "CREATE VIRTUAL TABLE words USING fts5 (text, content = '', columnsize = 0, tokenize = 'ascii', prefix = '2')",
    "CREATE TABLE runs (run INTEGER PRIMARY KEY, seq, open, n, told, has_ended)",
    "CREATE TABLE about (generation, first, last)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_FORMAT}",
)
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Unindexed(Exception):
    """There is no index to be had: why, and what to do. One that is damaged may be discarded."""

    is_damaged = False
    is_removed = False
    """It was there a moment ago: another process removed it, or put another one in its place."""


def words_path(journal: str) -> Path:
    """Return where the index of a journal lies."""
    return Path(f"{journal}.words")


class WordsFile:
    """The opened index of the journal at `journal`, made if it is missing; `is_readonly` where it may not be written.

    Every method raises Unindexed where it cannot do what it is asked to.
    """

    def __init__(self, journal: str) -> None:
        self.path = words_path(journal)
        if not sqlite_features().has_fts5:
            raise Unindexed("this Python's SQLite has no FTS5: another Python makes searches fast")
        self._identity: tuple[int, int] | None = None
        self.is_readonly = not _may_write(self.path)
        if self.is_readonly and not self.path.exists():
            raise Unindexed(f"{self.path} may not be written: give write access to its folder to make searches fast")
        self._connection = self._opened()

    def _opened(self) -> sqlite3.Connection:
        with self._errors():
            if not self.is_readonly:
                with suppress(FileExistsError):
                    os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._identity = _identity(self.path)
            mode = "ro" if self.is_readonly else "rw"
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_WAIT_S, isolation_level=None
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        try:
            known = _marks(connection)
        except sqlite3.DatabaseError as error:
            if code_of(error) != sqlite3.SQLITE_NOTADB:
                raise
            known = None
        if known == (0, 0) and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._make(connection)
        elif known is None or known[0] != _APPLICATION_ID:
            raise Unindexed(f"{self.path} is no index of ours and was left untouched: move it aside")
        elif known[1] != _FORMAT:
            raise Unindexed(f"{self.path} is of another version of this program: remove it, it is made anew")
        connection.execute("SELECT count(*) FROM about").fetchone()
        connection.execute("PRAGMA synchronous = NORMAL")

    def _make(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        if _marks(connection) == (0, 0):  # another process may have made it while we waited
            for statement in _TABLES:
                connection.execute(statement)
        connection.execute("COMMIT")

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return what a statement selects."""
        with self._errors():
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the file for a transaction: written at the end, undone by any exception."""
        self.rows("BEGIN IMMEDIATE")
        try:
            yield
            self.rows("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def add(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement with each of the rows."""
        with self._errors():
            self._connection.executemany(statement, rows)

    def clear(self) -> None:
        """Take everything out, so that no word of it can be read in the file."""
        self.rows("PRAGMA secure_delete = ON")
        self.rows("INSERT INTO words (words) VALUES ('delete-all')")
        self.rows("DELETE FROM runs")
        self.rows("DELETE FROM about")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            is_removed = self._identity not in (None, _identity(self.path))
            is_held = code_of(error) == sqlite3.SQLITE_BUSY
            mend = "another process is at it, search again" if is_held else "see that its disk has room, or remove it"
            ours = Unindexed(
                f"{self.path} was removed meanwhile: search again"
                if is_removed
                else f"{self.path} cannot be used ({error}): {mend}"
            )
            ours.is_removed = is_removed
            ours.is_damaged = code_of(error) in _DAMAGE and not self.is_readonly
            raise ours from error


def discard_words(journal: str) -> bool:
    """Remove the index of a journal, with all it tells of runs that are gone; return whether there was one of ours."""
    path = words_path(journal)
    if not _is_ours(path):
        return False
    for each in (path, Path(f"{path}-journal")):
        each.unlink(missing_ok=True)
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one that takes its place; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    return application, version


def _may_write(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:  # SQLite itself cannot read the mark of a file that was cut short
            header = file.read(72)
    except OSError:
        return False
    return header.startswith(b"SQLite format 3\0") and header[68:] == _APPLICATION_ID.to_bytes(4, "big")
