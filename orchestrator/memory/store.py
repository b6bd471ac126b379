"""The database file as the house uses it: one connection, transactions, and SQLite's errors made ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from threading import RLock
from typing import Any, Literal

from orchestrator.errors import StoreCorrupt, StoreError, StoreLocked, StoreReadOnly
from orchestrator.memory.opening import ANOTHER, NO_DATABASE, code_of, open_to_read, open_to_write

__all__ = ["DEFAULT_NAME", "Store", "default_db", "translated"]

DEFAULT_NAME = "journal.db"
"""What the file is called where nobody chose a path."""

_CLOSED = "closed database"
_NO_UTF8 = "Could not decode to UTF-8"
"""What Python's module says, with the whole text and no code of SQLite's."""


def default_db() -> Path:
    """Return the journal's default path: under ORCHESTRATOR_HOME, or the platform's folder for user data."""
    if home := os.environ.get("ORCHESTRATOR_HOME"):
        return Path(home).expanduser() / DEFAULT_NAME
    if data := os.environ.get("XDG_DATA_HOME"):
        return Path(data).expanduser() / "orchestrator" / DEFAULT_NAME
    return Path.home() / ".local" / "share" / "orchestrator" / DEFAULT_NAME


def _ours(error: BaseException, path: str) -> StoreError:
    code = code_of(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLocked(f"{path} is locked by another process: wait for it or choose another file with --db")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreReadOnly(f"{path} may not be written ({error}): give write access or choose another file with --db")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreError(f"{path} may not be read ({error}): give read access or choose another file with --db")
    if code == sqlite3.SQLITE_NOTADB:
        return StoreCorrupt(NO_DATABASE.format(path))
    if _NO_UTF8 in str(error):
        return _damaged(path, "a text is no UTF-8")
    if code == sqlite3.SQLITE_CORRUPT:
        return _damaged(path, str(error))
    if code == sqlite3.SQLITE_FULL:
        return StoreError(f"{path} cannot grow, the disk is full: make room, then resume")
    if isinstance(error, sqlite3.ProgrammingError) and _CLOSED in str(error):
        return StoreError(f"{path} has been closed here: look before it is, or open it again")
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(f"{path} cannot be read or written ({error}): see that its disk is whole and has room")
    return StoreError(f"{path}: {error}")


def _damaged(path: str, why: str) -> StoreCorrupt:
    error = StoreCorrupt(f"{path} is damaged ({why}) and was left untouched: see `db check`, or {ANOTHER}")
    error.why = why
    return error


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn every error of sqlite3 inside the block into a StoreError that names `path`: the one seam."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _ours(error, path) from error


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another one that takes its place; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Store:
    """One SQLite file, or `":memory:"`; safe with several threads and several processes.

    `durability` is `"process"` (what was committed survives the death of the process) or `"power"`
    (it survives power loss, too, at the price of a disk sync per commit). `wait_s` is how long to
    wait for another process that writes, in seconds. `readonly` opens an existing file beside
    whoever writes it and creates nothing.

    Raises StoreCorrupt, StoreNewer, StoreReadOnly, StoreLocked, or a plain StoreError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["process", "power"] = "process",
        wait_s: float = 5.0,
        readonly: bool = False,
    ) -> None:
        self.path = os.fspath(path)
        self.lock = RLock()
        with translated(self.path):
            if readonly:
                self.connection = open_to_read(self.path, wait_s)
            else:
                self.connection = open_to_write(self.path, wait_s, durability)
        self._identity = _identity(self.path)

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Hold the connection for one transaction: committed at the end, undone by any exception."""
        with self.lock:
            connection = self.connection
            try:
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                # Some errors of SQLite have ended the transaction already.
                with translated(self.path):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection for reads that all see the same moment; no writer waits for it."""
        try:
            with self.transaction("BEGIN") as connection:
                yield connection
        except (UnicodeDecodeError, JSONDecodeError) as error:  # of what was stored none is
            raise _damaged(self.path, "a text is no UTF-8, or no JSON") from error

    def changes(self) -> int:
        """Return a number that is another one after each commit of another connection. Asking costs next to nothing.

        Raises StoreError where another file has taken the place of the one that was opened, or none.
        """
        with self.lock, translated(self.path):
            if _identity(self.path) != self._identity:
                raise StoreError(f"{self.path} was moved, removed or replaced meanwhile: begin again")
            number: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return number

    def close(self) -> None:
        """Let go of the file. What was committed stays."""
        with self.lock, translated(self.path):
            self.connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()
