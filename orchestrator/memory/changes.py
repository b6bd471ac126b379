"""The log of a handbook's changes, and the ways along it: on, back, and forward again.

Each change holds the behaviors that it touched as they were and as they became, and the change that it came behind,
so that going back, and forward again, is writing those: what is left behind stays in the log. All of this happens
inside a transaction of the caller's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from json import dumps, loads
from typing import Any, NamedTuple

from orchestrator.behaviors import Add, Behavior, Credit, Delta, Merge, changed
from orchestrator.memory.behavior_rows import by_id, drop, put, whole
from orchestrator.memory.opening import damaged
from orchestrator.visible import visible

__all__ = ["Change", "Place", "apply", "logged", "move", "place_of"]

_SELECT = "SELECT seq, parent, op, before, after, reason, at_s, is_current FROM changes WHERE handbook = ?"
_INSERT = (
    "INSERT INTO changes (handbook, seq, parent, op, before, after, reason, at_s, is_current) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)"
)
_NAMED = "SELECT id FROM behaviors WHERE handbook = ? AND name = ? AND is_active"
_USED = (
    "SELECT 1 FROM uses JOIN changes USING (handbook, seq) "
    "WHERE uses.handbook = ? AND behavior = ? AND run = ? AND is_current"
)


class Change(NamedTuple):
    """One change of a handbook, as the log has it."""

    seq: int
    """1 for the first."""
    parent: int
    """The change before it; 0 for none. It is not the one with the number before where somebody had gone back."""
    op: str
    """`add`, `update`, `merge`, `retire` or `credit`."""
    before: tuple[Behavior, ...]
    """What it touched, as it was; nothing of what is new."""
    after: tuple[Behavior, ...]
    reason: str
    at_s: float
    """Seconds since the epoch."""
    is_current: bool
    """Whether the handbook stands on it; not where somebody went back behind it."""


class Place(NamedTuple):
    """Where a handbook stands; zeros where it holds nothing."""

    head: int
    """The change that it stands on."""
    last_seq: int
    """The last change in its log."""
    last_id: int
    """The last behavior's."""


def place_of(connection: sqlite3.Connection, key: int) -> Place:
    """Return where a handbook stands."""
    row = connection.execute("SELECT head, last_seq, last_id FROM handbooks WHERE key = ?", (key,)).fetchone()
    if row is None:
        return Place(0, 0, 0)
    if any(type(each) is not int for each in row):
        raise damaged("where the handbook stands cannot be read")
    return Place(*row)


def logged(connection: sqlite3.Connection, key: int) -> list[Change]:
    """Return every change in the order it was made, those that nobody stands on included."""
    return [_change(row) for row in connection.execute(f"{_SELECT} ORDER BY seq", (key,))]


def apply(
    connection: sqlite3.Connection, key: int, deltas: Iterable[Delta], *, reason: str, at_s: float
) -> list[Change]:
    """Apply deltas in order, and return what they changed. Raises UserError for what cannot be done."""
    writing = _Writing(connection, key, reason, at_s)
    made = [writing.apply(delta) for delta in deltas]
    writing.finish()
    return [change for change in made if change is not None]


def move(connection: sqlite3.Connection, key: int, to: int) -> int:
    """Undo what lies between the head and the last change that both ways share, then do what lies between that and
    `to`; return how many rows were written."""
    parents = dict(connection.execute("SELECT seq, parent FROM changes WHERE handbook = ? AND is_current", (key,)))
    way, shared = [], to
    while shared and shared not in parents:
        way.append(shared)
        shared = _changes(connection, key, (shared,))[0].parent
    undone = _changes(connection, key, sorted((seq for seq in parents if seq > shared), reverse=True))
    redone = _changes(connection, key, way[::-1])
    for change in undone:
        kept = {row.id for row in change.before}
        drop(connection, key, (row for row in change.after if row.id not in kept))
        put(connection, key, change.before)
    for change in redone:
        put(connection, key, change.after)
    mark = "UPDATE changes SET is_current = ? WHERE handbook = ? AND seq = ?"
    connection.executemany(mark, [(0, key, change.seq) for change in undone])
    connection.executemany(mark, [(1, key, change.seq) for change in redone])
    connection.execute("UPDATE handbooks SET head = ? WHERE key = ?", (to, key))
    return sum(len(change.after) for change in (*undone, *redone))


class _Writing:
    """Deltas on their way into the tables, inside a transaction of the caller's."""

    def __init__(self, connection: sqlite3.Connection, key: int, reason: str, at_s: float) -> None:
        self._connection, self._key, self._reason, self._at_s = connection, key, visible(reason), at_s
        self._head, self._seq, self._id = place_of(connection, key)

    def apply(self, delta: Delta) -> Change | None:
        """Apply one delta; None where it changes nothing."""
        if isinstance(delta, Credit):
            delta = delta._replace(id=self._successor(delta.id))
            if self._connection.execute(_USED, (self._key, delta.id, delta.run)).fetchone():
                return None
        rows = self._rows(delta)
        after = changed(delta, rows, self._names(delta), id=self._id + 1, version=self._seq + 1)
        if not after:
            return None
        before = tuple(rows[each.id] for each in after if each.id in rows)
        op = type(delta).__name__.lower()
        change = Change(self._seq + 1, self._head, op, before, tuple(after), self._reason, self._at_s, True)
        self._write(change)
        if isinstance(delta, Credit):
            use = (self._key, delta.id, delta.run, delta.effect, change.seq)
            self._connection.execute(
                "INSERT INTO uses (handbook, behavior, run, effect, seq) VALUES (?, ?, ?, ?, ?)", use
            )
        self._head = self._seq = change.seq
        self._id = max(self._id, *(each.id for each in after))
        return change

    def finish(self) -> None:
        """Write where the handbook stands now."""
        place = (self._head, self._seq, self._id, self._key)
        self._connection.execute("UPDATE handbooks SET head = ?, last_seq = ?, last_id = ? WHERE key = ?", place)

    def _write(self, change: Change) -> None:
        put(self._connection, self._key, change.after)
        before, after = (dumps([asdict(row) for row in rows]) for rows in (change.before, change.after))
        row = (self._key, change.seq, change.parent, change.op, before, after, change.reason, change.at_s)
        self._connection.execute(_INSERT, row)

    def _successor(self, id: int) -> int:
        """Return the behavior that has taken the place of `id`, itself if none has: a late outcome is for that one."""
        rows = self._found((id,))
        while id in rows and (into := rows[id].merged_into) is not None:
            id, rows = into, self._found((into,))
        return id

    def _rows(self, delta: Delta) -> dict[int, Behavior]:
        match delta:
            case Merge(into=into, ids=ids):
                return self._found((into, *ids))
            case Add():
                return {}
        return self._found((delta.id,))

    def _found(self, ids: Sequence[int]) -> dict[int, Behavior]:
        return by_id(self._connection, self._key, ids)

    def _names(self, delta: Delta) -> dict[str, int]:
        name = getattr(delta, "name", None)
        found = self._connection.execute(_NAMED, (self._key, name)).fetchone() if isinstance(name, str) else None
        return {str(name): found[0]} if found else {}


def _changes(connection: sqlite3.Connection, key: int, seqs: Iterable[int]) -> list[Change]:
    return [_change(connection.execute(f"{_SELECT} AND seq = ?", (key, seq)).fetchone()) for seq in seqs]


def _change(row: Sequence[Any]) -> Change:
    seq, parent, op, before, after, reason, at_s, is_current = row
    with whole(f"change {seq}"):
        rows = [tuple(Behavior(**each) for each in loads(text)) for text in (before, after)]
    return Change(seq, parent, op, rows[0], rows[1], reason, at_s, bool(is_current))
