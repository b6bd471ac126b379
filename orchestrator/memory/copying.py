"""Copy a journal beside whoever writes it, and give back the space that a pruning left."""

from __future__ import annotations

import os
import platform
import sqlite3
from contextlib import closing, suppress
from glob import escape
from pathlib import Path

from orchestrator.errors import RunTaken, StoreError, UserError
from orchestrator.memory.opening import code_of
from orchestrator.memory.owners import Owner, is_alive
from orchestrator.memory.pruning import Pruning
from orchestrator.memory.running import live_claims
from orchestrator.memory.store import Store, translated
from orchestrator.memory.unused_texts import sweep
from orchestrator.memory.words_file import discard_words

__all__ = ["backup", "vacuum"]

_PAGES = 2000


def backup(store: Store, target: Path) -> tuple[int, int]:
    """Copy the journal as it is at this moment; return the copy's bytes and runs.

    Writers do not wait. The copy is for its owner only, and has its name when it is whole: a process that dies leaves
    `target` unmade, and a `.part` beside it, which the next copy of that name removes. Raises UserError where something
    has that name.
    """
    if os.path.lexists(target):
        raise UserError(f"{target} is there already, and is never overwritten: choose another name")
    _sweep_parts(target)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}: choose another place") from error
    try:
        with translated(str(target)):
            runs = _copied(store, part, target)
        _named(part, target)
    finally:
        _remove(part)
    return os.stat(target).st_size, runs


def _sweep_parts(target: Path) -> None:
    """Remove the parts of copies whose process died."""
    for part in target.parent.glob(f"{escape(target.name)}.*.part"):
        pid = part.name.split(".")[-2]
        if pid.isdecimal() and not is_alive(Owner(int(pid), "", platform.node())):
            _remove(part)


def _remove(part: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(f"{part}{suffix}")


def _copied(store: Store, part: Path, target: Path) -> int:
    """Copy into `part`, onto the disk; return the number of runs. The read transaction keeps it to one moment."""
    with store.reading() as connection, closing(sqlite3.connect(part, isolation_level=None)) as copy:
        runs: int = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
        try:
            connection.backup(copy, pages=_PAGES)
        except sqlite3.OperationalError as error:  # of which of the two files it does not say
            if code_of(error) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise
            raise StoreError(f"{store.path} cannot be copied to {target}: {error}: see that there is room") from error
        return runs


def _named(part: Path, target: Path) -> None:
    """Give a whole copy its name, unless something has taken that meanwhile."""
    with part.open("rb") as written:
        os.fsync(written.fileno())
    try:
        os.link(part, target)
    except FileExistsError:
        raise UserError(f"{target} was made by somebody else meanwhile: choose another name") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise UserError(f"{target} was made by somebody else meanwhile: choose another name") from None
        os.rename(part, target)


def vacuum(store: Store) -> tuple[int, int]:
    """Take texts that nothing refers to, and give back what is free; return the bytes of the files before and after.

    The index of words beside it goes, too: the next search makes it anew. For a while the disk holds the file twice,
    and whoever writes waits. Raises RunTaken while a run is executed.
    """
    with store.reading() as connection:
        claims = live_claims(connection)
    if claims:
        pids = ", ".join(str(pid) for pid in sorted(set(claims.values())))
        raise RunTaken(f"a run of {store.path} is being executed by process {pids}: wait for its end")
    before = _bytes(store)
    sweep(store, Pruning(store, "vacuum"))
    discard_words(store.path)  # a pruning that was killed left in it what it took
    with store.lock, translated(store.path):
        store.connection.execute("VACUUM")
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, _bytes(store)


def _bytes(store: Store) -> int:
    return sum(os.path.getsize(f"{store.path}{each}") for each in ("", "-wal") if os.path.exists(f"{store.path}{each}"))
