"""Opening the file: told apart from what is not ours, made where it is missing, brought to the newest schema.

A file that is foreign, damaged or newer is recognised before anything is written and stays as it
was, byte for byte. Errors of sqlite3 pass through; `store` translates them.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from orchestrator.errors import StoreCorrupt, StoreError, StoreNewer, StoreReadOnly
from orchestrator.memory.sqlite_features import sqlite_features
from orchestrator.memory.totals import TOTALS
from orchestrator.memory.word_index import filled

__all__ = ["ANOTHER", "APPLICATION_ID", "NO_DATABASE", "SCHEMA", "code_of", "damaged", "open_to_read", "open_to_write"]

APPLICATION_ID = 0x4F52434A
"""Marks a SQLite file as ours: "ORCJ"."""
SCHEMA = 7
"""Number of migrations this version knows; a file carries the number it has seen."""
ANOTHER = "move it aside or choose another file with --db"
NO_DATABASE = "{} is not a SQLite database and was left untouched: " + ANOTHER
MEMORY = ":memory:"

_UNLEARNED = (
    "CREATE TEMP TABLE states (policy, version, state, run, at_s)",
    "CREATE TEMP TABLE rewards (run, value, at_s)",
)
_UNCOUNTED = (
    "CREATE TEMP VIEW results AS SELECT *, NULL AS queue_s, NULL AS drafts, NULL AS drafted, NULL AS accepted "
    "FROM main.results"
)
_UNTAUGHT = (
    "CREATE TEMP TABLE handbooks (key, name, head, last_seq, last_id, created_s)",
    "CREATE TEMP TABLE behaviors (key, handbook, id, name, instruction, section, polarity, version, is_active, "
    "merged_into, run, step, task, helpful, harmful, neutral)",
    "CREATE TEMP TABLE changes (handbook, seq, parent, op, before, after, reason, at_s, is_current)",
    "CREATE TEMP TABLE snapshots (handbook, name, seq, at_s)",
    "CREATE TEMP TABLE uses (handbook, behavior, run, effect, seq)",
    "CREATE TEMP TABLE vectors (n, handbook, space, behavior, version, vector)",
)
_UNREFUSED = (
    "CREATE TEMP TABLE refused (number, handbook, name, instruction, section, polarity, gate, reason, run, task, at_s)",
    "CREATE TEMP TABLE studied (handbook, run, strategist, at_s)",
)
_UNTOTALLED = (f"CREATE TEMP VIEW totals AS {TOTALS}", "CREATE TEMP TABLE prunings (number, runs, why, at_s)")
AS_NEWEST = {
    1: (_UNCOUNTED, *_UNLEARNED, *_UNTAUGHT, *_UNREFUSED, *_UNTOTALLED),
    2: (*_UNLEARNED, *_UNTAUGHT, *_UNREFUSED, *_UNTOTALLED),
    3: (*_UNTAUGHT, *_UNREFUSED, *_UNTOTALLED),
    4: (*_UNREFUSED, *_UNTOTALLED),
    5: _UNTOTALLED,
    6: _UNTOTALLED,
}
"""How a file of an older schema is read: it may lie where nobody may write."""
_WORDS_APART = 6
"""The schema that brought the index of words as it is now."""

_LOG_PAGES = 4000
"""The log is moved into the file at 16 MB: at SQLite's own 4 MB a step costs a tenth more."""
_SMALLEST_BYTES = 512


def code_of(error: BaseException) -> int:
    """Return SQLite's primary code of an error; 0 for one that the Python module raised by itself."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF  # the rest of an extended code only refines it


def damaged(why: str) -> sqlite3.DatabaseError:
    """Return what SQLite raises for a damaged file, where it is us who found that out."""
    error = sqlite3.DatabaseError(why)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def open_to_write(path: str, wait_s: float, durability: str) -> sqlite3.Connection:
    """Return a connection to the file, made if it is missing and brought to the newest schema."""
    if path != MEMORY:
        _look(path)
        _make(path)
    connection = _connect(path, "mode=rw", wait_s)
    try:
        if _check(connection, path) < SCHEMA:
            _migrate(connection, path)
        _log_ahead(connection, wait_s)
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: str, wait_s: float) -> sqlite3.Connection:
    """Return a connection that cannot write, to a file that exists."""
    if path == MEMORY or not _look(path):
        raise StoreError(f"no journal at {path}: run something first")
    # A reader that may write takes its side files away when it is the last to close; SQLite's read-only
    # mode leaves them behind. In a folder that may not be written nobody writes, and no side file is needed.
    may_write = all(os.access(each, os.W_OK) for each in _needed(path))
    try:
        return _reader(path, "mode=rw" if may_write else "mode=ro", wait_s)
    except sqlite3.OperationalError as error:
        # Of a full disk it is an IOERR: there is no room for a side file, and an empty log may be there by now.
        is_unable = code_of(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)
        if not is_unable or _has_log(path):
            raise
        return _reader(path, "mode=ro&immutable=1", wait_s)


def _has_log(path: str) -> bool:
    """Return whether something may stand in the log alone."""
    try:
        return os.stat(f"{path}-wal").st_size > 0
    except FileNotFoundError:
        return False


def _reader(path: str, mode: str, wait_s: float) -> sqlite3.Connection:
    connection = _connect(path, mode, wait_s)
    try:
        version = _check(connection, path)
        if version < SCHEMA:
            _look_newer(connection, path, version)
        connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _look_newer(connection: sqlite3.Connection, path: str, version: int) -> None:
    """Put views over tables that lack columns, empty tables where they are missing, and the index of words as it is
    now, for this connection alone: the file stays as it is."""
    if version not in AS_NEWEST:
        raise StoreError(f"{path} has the older schema {version}: `run` something to bring it to {SCHEMA}")
    has_words = version >= _WORDS_APART or not sqlite_features().has_fts5
    for statement in (*AS_NEWEST[version], *(() if has_words else filled("temp"))):
        connection.execute(statement)


def _connect(path: str, mode: str, wait_s: float) -> sqlite3.Connection:
    is_file = path != MEMORY
    target = f"{Path(path).absolute().as_uri()}?{mode}" if is_file else MEMORY
    return sqlite3.connect(target, uri=is_file, timeout=wait_s, isolation_level=None, check_same_thread=False)


def _look(path: str) -> int:
    """Return the size of the file in bytes, 0 if it is missing. Raises if it is not ours. Writes nothing."""
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}: choose another file with --db") from error
    if os.path.isdir(path):
        raise StoreError(f"{path} is a folder: choose a file with --db")
    if 0 < size < _SMALLEST_BYTES:  # SQLite itself takes such a file for an empty one
        raise StoreCorrupt(NO_DATABASE.format(path))
    if size:
        _recognise(path)
    return size


def _recognise(path: str) -> None:
    # Not by reading the file ourselves: closing it would drop the locks that another connection of this
    # process holds on it. An immutable connection takes none and leaves no file behind.
    connection = _connect(path, "mode=ro&immutable=1", 0)
    try:
        _check(connection, path)
    except sqlite3.DatabaseError as error:
        if code_of(error) != sqlite3.SQLITE_CORRUPT:
            raise
        # It looks cut short without its log, as it does while another process moves the log into it.
        # The real connection reads both and decides.
    finally:
        connection.close()


def _check(connection: sqlite3.Connection, path: str) -> int:
    """Return the schema's number, 0 for an empty file. Raises if the file is foreign or newer."""
    if connection.in_transaction:
        return _read_check(connection, path)
    connection.execute("BEGIN")  # what is read is of one moment: another process may be making the file
    try:
        return _read_check(connection, path)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _read_check(connection: sqlite3.Connection, path: str) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        if not version and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return 0
        raise StoreCorrupt(f"{path} is another program's database and was left untouched: {ANOTHER}")
    if version > SCHEMA:
        raise StoreNewer(
            f"{path} was written by a newer version of this program (schema {version}, this one knows {SCHEMA}): "
            "upgrade, or choose another file with --db"
        )
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except UnicodeDecodeError as error:  # SQLite quotes what it cannot read of the schema
        raise damaged(f"its schema cannot be read: {error}") from error
    return version


def _make(path: str) -> None:
    """Make the file if it is missing, for its owner only, and its folders. Raises if it may not be written."""
    folder = _needed(path)[1]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if not folder.is_dir():
            raise StoreError(f"{folder} is not a folder: choose another file with --db") from None
    except PermissionError as error:
        raise StoreReadOnly(f"{path} cannot be created in {folder}: choose another file with --db") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be created: {error.strerror}: choose another file with --db") from error
    for needed in _needed(path):
        if not os.access(needed, os.W_OK):
            raise StoreReadOnly(f"{needed} may not be written: give write access or choose another file with --db")


def _needed(path: str) -> tuple[Path, Path]:
    """Return what a writer has to be able to write: the file, and its folder, where the log stands beside it."""
    file = Path(path).absolute()
    return file, file.parent


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    # Imported here: it takes a third of a second and a file of the newest schema does not need it.
    from sqlite_utils import Database

    from orchestrator.memory.migrations import MIGRATIONS

    connection.execute("BEGIN IMMEDIATE")
    try:
        if _check(connection, path) < SCHEMA:  # another process may have done it while we waited
            MIGRATIONS.apply(Database(connection, execute_plugins=False))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _log_ahead(connection: sqlite3.Connection, wait_s: float) -> None:
    """Switch to the write-ahead log. SQLite does not wait by itself while another process is doing the same."""
    give_up_s = time.monotonic() + wait_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_s:
                raise
            time.sleep(0.01)
