"""Which process executes a run, and whether it still lives."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["Owner", "is_alive", "this_process"]


class Owner(NamedTuple):
    """A process, told apart from a later one with the same number."""

    pid: int
    started: str
    """Boot of the machine and clock ticks from it to the start of the process; empty where /proc is missing, and
    for a process that is dead and only waits to be reaped."""
    host: str


def _started(pid: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The name of the program is in parentheses and may hold spaces; the state is field 3, the start time field 22.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def this_process() -> Owner:
    """Return the process that runs this; after a fork the child is another one."""
    return _process(os.getpid())


@lru_cache(maxsize=1)
def _process(pid: int) -> Owner:
    return Owner(pid, _started(pid), platform.node())


def is_alive(owner: Owner) -> bool:
    """Return whether `owner` is still running.

    A process of another host counts as gone: SQLite in WAL mode is for one machine, so the name
    is that of a container or machine that this one has replaced. Should both run after all, the
    keys of the journal's rows refuse the second writer. Windows cannot be asked either.
    """
    if owner.host != platform.node() or os.name == "nt":
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives and belongs to someone else
    return not owner.started or _started(owner.pid) == owner.started
