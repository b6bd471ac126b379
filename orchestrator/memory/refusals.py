"""Proposals that a gate turned away, kept for a person to see, and the runs that were learned from.

What is kept is what is shown: invisible characters are spelled out, and of a long text only the beginning is there,
which is still too long to be let in. The newest thousand of a handbook are kept, the same words once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from orchestrator.behaviors import MAX_INSTRUCTION, MAX_NAME
from orchestrator.visible import visible

__all__ = ["MOST", "Refusal", "forget", "forget_studied", "kept", "note_studied", "put", "was_studied"]

MOST = 1_000
"""Refusals of one handbook."""
_CUT = {"instruction": 2 * MAX_INSTRUCTION, "reason": MAX_INSTRUCTION}
"""Characters of a text that are kept; of the others twice as many as a name may have."""


class Refusal(NamedTuple):
    """A proposal that was turned away."""

    name: str
    instruction: str
    section: str
    polarity: str
    gate: str
    """Which gate it did not pass."""
    reason: str
    run: str = ""
    """The run that it was learned from, likewise below."""
    task: str = ""
    """Names what that run was asked."""
    at_s: float = 0.0
    """Seconds since the epoch."""
    number: int = 0
    """What people call it; never given twice in a file."""


_COLUMNS = ", ".join(Refusal._fields)
_PUT = (
    f"INSERT INTO refused (handbook, {_COLUMNS}) VALUES (?{', ?' * len(Refusal._fields)}) "
    "ON CONFLICT (handbook, name, instruction) DO NOTHING"
)
_OLD = (
    "DELETE FROM refused WHERE handbook = ?1 AND number <= "
    f"(SELECT number FROM refused WHERE handbook = ?1 ORDER BY number DESC LIMIT 1 OFFSET {MOST})"
)
_FORGET = "DELETE FROM refused WHERE handbook = ? AND number = ?"


def put(connection: sqlite3.Connection, handbook: int, refusals: Iterable[Refusal], at_s: float) -> None:
    """Keep refusals, and let go of the oldest where there are too many. Inside a transaction; so are all of these."""
    for each in refusals:
        texts = {name: _cut(name, value) for name, value in each._asdict().items() if isinstance(value, str)}
        row = {**each._asdict(), **texts, "at_s": at_s, "number": None}
        connection.execute(_PUT, (handbook, *row.values()))
    connection.execute(_OLD, (handbook,))


def kept(connection: sqlite3.Connection, handbook: int) -> list[Refusal]:
    """Return what was refused, the newest first."""
    select = f"SELECT {_COLUMNS} FROM refused WHERE handbook = ? ORDER BY number DESC"
    return [Refusal(*row) for row in connection.execute(select, (handbook,))]


def forget(connection: sqlite3.Connection, handbook: int, numbers: Sequence[int]) -> int:
    """Let go of refusals; return how many there were."""
    return sum(connection.execute(_FORGET, (handbook, each)).rowcount for each in {*numbers})


def note_studied(connection: sqlite3.Connection, handbook: int, run: str, by: str, at_s: float) -> None:
    """Note that `by`, which names a strategist, has learned from a run."""
    insert = "INSERT INTO studied (handbook, run, strategist, at_s) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
    connection.execute(insert, (handbook, run, by, at_s))


def forget_studied(connection: sqlite3.Connection, handbook: int, since_s: float) -> None:
    """Forget which runs were learned from since a time, in seconds since the epoch: what that taught was taken back."""
    connection.execute("DELETE FROM studied WHERE handbook = ? AND at_s >= ?", (handbook, since_s))


def was_studied(connection: sqlite3.Connection, handbook: int, run: str, by: str) -> bool:
    """Return whether `by` has learned from a run."""
    select = "SELECT 1 FROM studied WHERE handbook = ? AND run = ? AND strategist = ?"
    return connection.execute(select, (handbook, run, by)).fetchone() is not None


def _cut(name: str, text: str) -> str:
    limit = _CUT.get(name, 2 * MAX_NAME)
    return visible(text[:limit])[:limit]
