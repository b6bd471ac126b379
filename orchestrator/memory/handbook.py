"""The handbook: behaviors of a file, every change of them, and the way back.

Changes are a log. Each one holds the behaviors that it touched as they were and as they became, and the change that
it came behind, so that going back, and forward again, is writing those: what is left behind stays in the log.
Processes that write at once wait for each other and each find what the others did.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from json import dumps, loads
from time import time
from typing import Any, NamedTuple

from orchestrator.behaviors import MAX_NAME, Add, Behavior, Credit, Delta, Merge, changed
from orchestrator.errors import UnknownName, UserError
from orchestrator.memory import refusals
from orchestrator.memory.opening import damaged
from orchestrator.memory.refusals import Refusal
from orchestrator.memory.store import Store
from orchestrator.memory.vectors import Vectors, meanings
from orchestrator.memory.word_search import found_by_words
from orchestrator.visible import visible

__all__ = ["Change", "Handbook", "Snapshot"]

_FIELDS = tuple(each.name for each in fields(Behavior))
_COLUMNS = ", ".join(_FIELDS)
_PUT = (
    f"INSERT INTO behaviors (handbook, {_COLUMNS}) VALUES (?{', ?' * len(_FIELDS)}) ON CONFLICT (handbook, id) "
    f"DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _FIELDS if name != 'id')}"
)
_DROP = "DELETE FROM behaviors WHERE handbook = ? AND id = ?"
_ROWS = f"SELECT {_COLUMNS} FROM behaviors WHERE handbook = ?"
_CHANGES = "SELECT seq, parent, op, before, after, reason, at_s, is_current FROM changes WHERE handbook = ?"
_NAMED = "SELECT id FROM behaviors WHERE handbook = ? AND name = ? AND is_active"
_USED = (
    "SELECT 1 FROM uses JOIN changes USING (handbook, seq) "
    "WHERE uses.handbook = ? AND behavior = ? AND run = ? AND is_current"
)
_LOG = (
    "INSERT INTO changes (handbook, seq, parent, op, before, after, reason, at_s, is_current) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)"
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


class Snapshot(NamedTuple):
    """A name for how a handbook was behind one change."""

    name: str
    seq: int
    at_s: float


class Handbook:
    """One handbook of a file; a file may hold several, and the journal too. Any number of processes may write it.

    Every method may raise StoreError.
    """

    def __init__(self, store: Store, name: str = "default") -> None:
        if not name.isidentifier() or len(name) > MAX_NAME:
            raise UserError(f"a handbook cannot be called {name!r:.100}: use a plain word")
        self.name = name
        self._store = store
        self.file = store.path
        self._spaces: dict[str, Vectors] = {}

    # ---- reading

    def behaviors(self, *, section: str | None = None, retired: bool = False) -> list[Behavior]:
        """Return the active behaviors by id, those of one section if it is given; with `retired`, all there are."""
        where, values = "", []
        if section is not None:
            where, values = " AND section = ?", [section]
        if not retired:
            where += " AND is_active"
        with self._reading() as (connection, key):
            rows = connection.execute(f"{_ROWS}{where} ORDER BY id", (key, *values))
            return [_behavior(row) for row in rows]

    def behavior(self, id_or_name: int | str) -> Behavior:
        """Return one behavior, a retired one by its id only. Raises UnknownName."""
        by = "id = ?" if isinstance(id_or_name, int) else "name = ? AND is_active"
        with self._reading() as (connection, key):
            row = connection.execute(f"{_ROWS} AND {by}", (key, id_or_name)).fetchone()
            if row is None:
                raise UnknownName(f"no behavior {id_or_name!r:.100} in handbook {self.name!r}")
            return _behavior(row)

    def search(self, question: str, limit: int = 40, *, sections: Sequence[str] = ()) -> list[tuple[Behavior, float]]:
        """Return active behaviors by the words they share with `question`, best first; see word_search."""
        with self._reading() as (connection, key):
            found = found_by_words(connection, key, question, limit, sections)
            rows = _found(connection, key, [id for id, _ in found])
        return [(rows[id], score) for id, score in found]

    def without_vector(self, space: str, limit: int = 256) -> list[Behavior]:
        """Return active behaviors that have no vector in `space` as they are now, the oldest first."""
        with self._reading() as (connection, key):
            ids = self._vectors(space).missing(connection, key)[:limit]
            rows = _found(connection, key, ids)
        return [rows[id] for id in ids]

    def num_without_vector(self, space: str) -> int:
        """Return how many active behaviors have no vector in `space` as they are now."""
        with self._reading() as (connection, key):
            return len(self._vectors(space).missing(connection, key))

    def put_vectors(self, space: str, given: Mapping[Behavior, Sequence[float]]) -> None:
        """Store what behaviors mean in `space`, which names what embeds them; see vectors."""
        at_s = time()
        with self._store.transaction() as connection:
            self._vectors(space).put(connection, _key(connection, self.name, at_s), given)

    def nearest(
        self,
        space: str,
        vector: Sequence[float],
        limit: int = 40,
        *,
        sections: Sequence[str] = (),
        beside: Sequence[Behavior] = (),
    ) -> list[tuple[Behavior, float]]:
        """Return active behaviors whose vectors are nearest to one of a question, with their cosines; see vectors.

        Those `beside` them that have vectors are among them, however far they are.
        """
        with self._reading() as (connection, key):
            rows = {each.id: each for each in beside}

            def is_wanted(ids: Sequence[int]) -> dict[int, int]:
                found = _found(connection, key, [id for id in ids if id not in rows])
                rows.update(found)
                wanted = [rows[id] for id in ids if id in rows]
                return {
                    row.id: row.version for row in wanted if row.is_active and (not sections or row.section in sections)
                }

            found = self._vectors(space).nearest(
                connection, key, vector, limit, is_wanted, [(each.id, each.version) for each in beside]
            )
        return [(rows[id], likeness) for id, likeness in found]

    def meanings(self) -> dict[int, Any]:
        """Return the vectors of active behaviors as they are now, by id, in the space that has most of them."""
        with self._reading() as (connection, key):
            return meanings(connection, key)

    def _vectors(self, space: str) -> Vectors:
        return self._spaces.setdefault(space, Vectors(space))

    def gone(self) -> list[Behavior]:
        """Return the retired behaviors whose place no other one has taken, by id."""
        with self._reading() as (connection, key):
            rows = connection.execute(f"{_ROWS} AND NOT is_active AND merged_into IS NULL ORDER BY id", (key,))
            return [_behavior(row) for row in rows]

    def changes(self, *, of: int | None = None) -> list[Change]:
        """Return every change in the order it was made, those that nobody stands on included; `of` one behavior."""
        with self._reading() as (connection, key):
            found = [_change(row) for row in connection.execute(f"{_CHANGES} ORDER BY seq", (key,))]
        return found if of is None else [each for each in found if any(row.id == of for row in each.after)]

    @property
    def head(self) -> int:
        """The change that the handbook stands on; 0 for none."""
        with self._reading() as (connection, key):
            return _place(connection, key)[0]

    def snapshots(self) -> list[Snapshot]:
        """Return the named places, oldest first."""
        select = "SELECT name, seq, at_s FROM snapshots WHERE handbook = ? ORDER BY at_s, name"
        with self._reading() as (connection, key):
            return [Snapshot(*row) for row in connection.execute(select, (key,))]

    def refused(self) -> list[Refusal]:
        """Return what gates turned away, the newest first; see refusals."""
        with self._reading() as (connection, key):
            return refusals.kept(connection, key)

    def has_studied(self, run: str, by: str) -> bool:
        """Return whether the strategist that `by` names has learned from a run."""
        with self._reading() as (connection, key):
            return refusals.was_studied(connection, key, run, by)

    # ---- writing

    def apply(self, deltas: Iterable[Delta], *, reason: str = "") -> list[Change]:
        """Apply `deltas` in order, all or none, and return what they changed.

        What changes nothing, such as retiring what is retired or crediting a run a second time, leaves no trace.
        Raises UserError for what cannot be done; then nothing was.
        """
        at_s = time()
        with self._store.transaction() as connection:
            return _applied(connection, _key(connection, self.name, at_s), deltas, reason, at_s)

    def study(
        self,
        run: str,
        by: str,
        deltas: Iterable[Delta],
        refused: Iterable[Refusal],
        *,
        reason: str,
        behind: int | None = None,
    ) -> list[Change]:
        """Apply what the strategist that `by` names has learned from a run, keep what was refused, and note that it
        has: all of that, or nothing. Raises UserError as `apply` does, and where the handbook stands on another change
        than `behind`, the one that the gates have seen: what they let in may have been said meanwhile.
        """
        at_s = time()
        with self._store.transaction() as connection:
            key = _key(connection, self.name, at_s)
            if behind is not None and behind != (head := _place(connection, key)[0]):
                raise UserError(f"handbook {self.name!r} stands on change {head} by now, not on {behind}: look again")
            refusals.put(connection, key, refused, at_s)
            refusals.note_studied(connection, key, run, by, at_s)
            return _applied(connection, key, deltas, reason, at_s)

    def admit(self, number: int, as_: Add, *, reason: str) -> Change:
        """Add what was refused as `as_`, and refuse it no longer. Raises UnknownName, and UserError as `apply` does."""
        at_s = time()
        with self._store.transaction() as connection:
            key = _key(connection, self.name, at_s)
            if not refusals.forget(connection, key, [number]):
                raise UnknownName(f"handbook {self.name!r} has refused nothing that is number {number}")
            (change,) = _applied(connection, key, [as_], reason, at_s)
        return change

    def forget_refused(self, numbers: Sequence[int]) -> int:
        """Let go of what was refused, by number; return how many there were."""
        with self._store.transaction() as connection:
            return refusals.forget(connection, _key(connection, self.name, time()), numbers)

    def snapshot(self, name: str) -> Snapshot:
        """Name how the handbook is now. Raises UserError where the name is taken."""
        if not name.strip() or len(name) > MAX_NAME or not name.isprintable() or name.isdecimal():
            raise UserError(f"a snapshot cannot be called {name!r:.100}: use a short word, and no number")
        at_s = time()
        with self._store.transaction() as connection:
            key = _key(connection, self.name, at_s)
            found = Snapshot(name, _place(connection, key)[0], at_s)
            if connection.execute("SELECT 1 FROM snapshots WHERE handbook = ? AND name = ?", (key, name)).fetchone():
                raise UserError(f"there is a snapshot {name!r} already: choose another name")
            connection.execute("INSERT INTO snapshots (handbook, name, seq, at_s) VALUES (?, ?, ?, ?)", (key, *found))
        return found

    def rollback(self, to: int | str) -> int:
        """Bring every behavior to how it was behind a change, or at a snapshot; return how many rows that touched.

        0 is the empty handbook. Forward is a way, too: what was left behind can be had back. Raises UnknownName.
        """
        at_s = time()
        with self._store.transaction() as connection:
            key = _key(connection, self.name, at_s)
            return _move(connection, key, self._seq(connection, key, to))

    def _seq(self, connection: sqlite3.Connection, key: int, to: int | str) -> int:
        if isinstance(to, str):
            row = connection.execute("SELECT seq FROM snapshots WHERE handbook = ? AND name = ?", (key, to)).fetchone()
            if row is None:
                raise UnknownName(f"no snapshot {to!r:.100} of handbook {self.name!r}")
            with _whole(f"snapshot {to!r}"):
                return int(row[0])
        last = _place(connection, key)[1]
        if not 0 <= to <= last:
            raise UnknownName(f"no change {to} of handbook {self.name!r}: give 0 to {last}")
        return to

    @contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        """Hold the connection, and the handbook's number; 0 where nobody has written to it."""
        with self._store.reading() as connection:
            row = connection.execute("SELECT key FROM handbooks WHERE name = ?", (self.name,)).fetchone()
            yield connection, 0 if row is None else row[0]


def _applied(
    connection: sqlite3.Connection, key: int, deltas: Iterable[Delta], reason: str, at_s: float
) -> list[Change]:
    writing = _Writing(connection, key, reason, at_s)
    made = [writing.apply(delta) for delta in deltas]
    writing.finish()
    return [change for change in made if change is not None]


class _Writing:
    """Deltas on their way into the tables, inside a transaction of the caller's."""

    def __init__(self, connection: sqlite3.Connection, key: int, reason: str, at_s: float) -> None:
        self._connection, self._key, self._reason, self._at_s = connection, key, visible(reason), at_s
        self._head, self._seq, self._id = _place(connection, key)

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
        _put(self._connection, self._key, change.after)
        before, after = (dumps([asdict(row) for row in rows]) for rows in (change.before, change.after))
        row = (self._key, change.seq, change.parent, change.op, before, after, change.reason, change.at_s)
        self._connection.execute(_LOG, row)

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
        return _found(self._connection, self._key, ids)

    def _names(self, delta: Delta) -> dict[str, int]:
        name = getattr(delta, "name", None)
        found = self._connection.execute(_NAMED, (self._key, name)).fetchone() if isinstance(name, str) else None
        return {str(name): found[0]} if found else {}


def _move(connection: sqlite3.Connection, key: int, to: int) -> int:
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
        connection.executemany(_DROP, [(key, row.id) for row in change.after if row.id not in kept])
        _put(connection, key, change.before)
    for change in redone:
        _put(connection, key, change.after)
    mark = "UPDATE changes SET is_current = ? WHERE handbook = ? AND seq = ?"
    connection.executemany(mark, [(0, key, change.seq) for change in undone])
    connection.executemany(mark, [(1, key, change.seq) for change in redone])
    connection.execute("UPDATE handbooks SET head = ? WHERE key = ?", (to, key))
    return sum(len(change.after) for change in (*undone, *redone))


def _key(connection: sqlite3.Connection, name: str, at_s: float) -> int:
    """Return the number of a handbook, which is begun if it is not there."""
    connection.execute("INSERT INTO handbooks (name, created_s) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, at_s))
    return int(connection.execute("SELECT key FROM handbooks WHERE name = ?", (name,)).fetchone()[0])


def _place(connection: sqlite3.Connection, key: int) -> tuple[int, int, int]:
    """Return the head, the last change and the last behavior's id of a handbook; zeros where there is none."""
    row = connection.execute("SELECT head, last_seq, last_id FROM handbooks WHERE key = ?", (key,)).fetchone()
    if row is None:
        return (0, 0, 0)
    if any(type(each) is not int for each in row):
        raise damaged("where the handbook stands cannot be read")
    return tuple(row)


def _found(connection: sqlite3.Connection, key: int, ids: Sequence[int]) -> dict[int, Behavior]:
    rows = connection.execute(f"{_ROWS} AND id IN (SELECT value FROM json_each(?))", (key, dumps([*ids])))
    return {each.id: each for each in map(_behavior, rows)}


def _put(connection: sqlite3.Connection, key: int, rows: Iterable[Behavior]) -> None:
    connection.executemany(_PUT, [(key, *(getattr(row, name) for name in _FIELDS)) for row in rows])


def _changes(connection: sqlite3.Connection, key: int, seqs: Iterable[int]) -> list[Change]:
    return [_change(connection.execute(f"{_CHANGES} AND seq = ?", (key, seq)).fetchone()) for seq in seqs]


def _behavior(row: Sequence[Any]) -> Behavior:
    said = dict(zip(_FIELDS, row, strict=True))
    with _whole("a behavior"):
        return Behavior(**{**said, "is_active": bool(said["is_active"])})


def _change(row: Sequence[Any]) -> Change:
    seq, parent, op, before, after, reason, at_s, is_current = row
    with _whole(f"change {seq}"):
        rows = [tuple(Behavior(**each) for each in loads(text)) for text in (before, after)]
    return Change(seq, parent, op, rows[0], rows[1], reason, at_s, bool(is_current))


@contextmanager
def _whole(what: str) -> Iterator[None]:
    """Say of a row that holds what nobody wrote what SQLite says of a page: the file is damaged."""
    try:
        yield
    except (UserError, TypeError, ValueError) as error:
        raise damaged(f"{what} cannot be read: {error}") from error
