"""Which runs of a journal a process executes."""

from __future__ import annotations

import sqlite3
from functools import cache

from orchestrator.memory.owners import Owner, is_alive

__all__ = ["live_claims"]

_CLAIMS = "SELECT run, pid, started, host FROM claims"


def live_claims(connection: sqlite3.Connection) -> dict[int, int]:
    """Return the runs that are being executed, by number, with the id of the process."""
    lives = cache(is_alive)  # runs that one process left have one owner
    return {run: pid for run, pid, *rest in connection.execute(_CLAIMS) if lives(Owner(pid, *rest))}
