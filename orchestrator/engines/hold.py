"""Who supervises an engine: a file with their process id, locked as long as they or a server of theirs live."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from orchestrator.errors import UserError

__all__ = ["held", "holder"]

TRIES = 20
TRY_AGAIN_S = 0.02


@contextmanager
def held(record: Path, name: str) -> Iterator[int]:
    """Put on record that this process supervises engine `name`.

    Yields the lock's descriptor: a process that inherits it keeps the record too, until it ends. Raises UserError if
    somebody supervises the engine already, or if the record cannot be written.
    """
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        file = record.open("a+")
    except OSError as error:
        raise UserError(f"{record} cannot be written: {error.strerror}") from error
    with file:
        if not _locked(file):
            raise UserError(f"engine {name!r} is served already: `orchestrator engines down {name}` ends it")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield file.fileno()
        finally:
            file.truncate(0)


def holder(record: Path) -> int | None:
    """Return the process that supervises an engine, or None; one that was killed until its servers have ended."""
    try:
        with record.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read())
    except (OSError, ValueError):  # there is no record, or it is being written
        pass
    return None


def _locked(file: IO[str]) -> bool:
    for _ in range(TRIES):  # whoever asks for the holder has a lock as well, for an instant
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(TRY_AGAIN_S)
        else:
            return True
    return False
