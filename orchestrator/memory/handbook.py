"""The handbook: behaviors of a file, every change of them, and the way back; see changes.

Processes that write at once wait for each other and each find what the others did.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time
from typing import Any, NamedTuple

from orchestrator.behaviors import MAX_NAME, Add, Behavior, Delta
from orchestrator.errors import UnknownName, UserError
from orchestrator.memory import changes, refusals
from orchestrator.memory.behavior_rows import by_id, selected, whole
from orchestrator.memory.changes import Change, place_of
from orchestrator.memory.refusals import Refusal
from orchestrator.memory.store import Store
from orchestrator.memory.vectors import Vectors, meanings
from orchestrator.memory.word_search import found_by_words

__all__ = ["Handbook", "Snapshot"]


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
        where = "(?2 IS NULL OR section = ?2) AND (?3 OR is_active) ORDER BY id"
        with self._reading() as (connection, key):
            return selected(connection, key, where, section, retired)

    def behavior(self, id_or_name: int | str) -> Behavior:
        """Return one behavior, a retired one by its id only. Raises UnknownName."""
        by = "id = ?" if isinstance(id_or_name, int) else "name = ? AND is_active"
        with self._reading() as (connection, key):
            found = selected(connection, key, by, id_or_name)
        if not found:
            raise UnknownName(f"no behavior {id_or_name!r:.100} in handbook {self.name!r}")
        return found[0]

    def search(self, question: str, limit: int = 40, *, sections: Sequence[str] = ()) -> list[tuple[Behavior, float]]:
        """Return active behaviors by the words they share with `question`, best first; see word_search."""
        with self._reading() as (connection, key):
            found = found_by_words(connection, key, question, limit, sections)
            rows = by_id(connection, key, [id for id, _ in found])
        return [(rows[id], score) for id, score in found]

    def without_vector(self, space: str, limit: int = 256) -> list[Behavior]:
        """Return active behaviors that have no vector in `space` as they are now, the oldest first."""
        with self._reading() as (connection, key):
            ids = self._vectors(space).missing(connection, key)[:limit]
            rows = by_id(connection, key, ids)
        return [rows[id] for id in ids]

    def num_without_vector(self, space: str) -> int:
        """Return how many active behaviors have no vector in `space` as they are now."""
        with self._reading() as (connection, key):
            return len(self._vectors(space).missing(connection, key))

    def put_vectors(self, space: str, given: Mapping[Behavior, Sequence[float]]) -> None:
        """Store what behaviors mean in `space`, which names what embeds them; see vectors."""
        with self._writing() as (connection, key, _):
            self._vectors(space).put(connection, key, given)

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
                found = by_id(connection, key, [id for id in ids if id not in rows])
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
            return selected(connection, key, "NOT is_active AND merged_into IS NULL ORDER BY id")

    def changes(self, *, of: int | None = None) -> list[Change]:
        """Return every change in the order it was made, those that nobody stands on included; `of` one behavior."""
        with self._reading() as (connection, key):
            found = changes.logged(connection, key)
        return found if of is None else [each for each in found if any(row.id == of for row in each.after)]

    @property
    def head(self) -> int:
        """The change that the handbook stands on; 0 for none."""
        with self._reading() as (connection, key):
            return place_of(connection, key).head

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
        with self._writing() as (connection, key, at_s):
            return changes.apply(connection, key, deltas, reason=reason, at_s=at_s)

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
        with self._writing() as (connection, key, at_s):
            if behind is not None and behind != (head := place_of(connection, key).head):
                raise UserError(f"handbook {self.name!r} stands on change {head} by now, not on {behind}: look again")
            refusals.put(connection, key, refused, at_s)
            refusals.note_studied(connection, key, run, by, at_s)
            return changes.apply(connection, key, deltas, reason=reason, at_s=at_s)

    def admit(self, number: int, as_: Add, *, reason: str) -> Change:
        """Add what was refused as `as_`, and refuse it no longer. Raises UnknownName, and UserError as `apply` does."""
        with self._writing() as (connection, key, at_s):
            if not refusals.forget(connection, key, [number]):
                raise UnknownName(f"handbook {self.name!r} has refused nothing that is number {number}")
            (change,) = changes.apply(connection, key, [as_], reason=reason, at_s=at_s)
        return change

    def forget_refused(self, numbers: Sequence[int]) -> int:
        """Let go of what was refused, by number; return how many there were."""
        with self._writing() as (connection, key, _):
            return refusals.forget(connection, key, numbers)

    def snapshot(self, name: str) -> Snapshot:
        """Name how the handbook is now. Raises UserError where the name is taken."""
        if not name.strip() or len(name) > MAX_NAME or not name.isprintable() or name.isdecimal():
            raise UserError(f"a snapshot cannot be called {name!r:.100}: use a short word, and no number")
        with self._writing() as (connection, key, at_s):
            found = Snapshot(name, place_of(connection, key).head, at_s)
            if connection.execute("SELECT 1 FROM snapshots WHERE handbook = ? AND name = ?", (key, name)).fetchone():
                raise UserError(f"there is a snapshot {name!r} already: choose another name")
            connection.execute("INSERT INTO snapshots (handbook, name, seq, at_s) VALUES (?, ?, ?, ?)", (key, *found))
        return found

    def rollback(self, to: int | str) -> int:
        """Bring every behavior to how it was behind a change, or at a snapshot; return how many rows that touched.

        0 is the empty handbook. Forward is a way, too: what was left behind can be had back. Raises UnknownName.
        """
        with self._writing() as (connection, key, _):
            return changes.move(connection, key, self._seq(connection, key, to))

    def _seq(self, connection: sqlite3.Connection, key: int, to: int | str) -> int:
        if isinstance(to, str):
            row = connection.execute("SELECT seq FROM snapshots WHERE handbook = ? AND name = ?", (key, to)).fetchone()
            if row is None:
                raise UnknownName(f"no snapshot {to!r:.100} of handbook {self.name!r}")
            with whole(f"snapshot {to!r}"):
                return int(row[0])
        last = place_of(connection, key).last_seq
        if not 0 <= to <= last:
            raise UnknownName(f"no change {to} of handbook {self.name!r}: give 0 to {last}")
        return to

    @contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        """Hold the connection, and the handbook's number; 0 where nobody has written to it."""
        with self._store.reading() as connection:
            yield connection, self._key(connection)

    @contextmanager
    def _writing(self) -> Iterator[tuple[sqlite3.Connection, int, float]]:
        """Hold a transaction, the handbook's number, which is begun if it is not there, and the time."""
        at_s = time()
        begin = "INSERT INTO handbooks (name, created_s) VALUES (?, ?) ON CONFLICT DO NOTHING"
        with self._store.transaction() as connection:
            connection.execute(begin, (self.name, at_s))
            yield connection, self._key(connection), at_s

    def _key(self, connection: sqlite3.Connection) -> int:
        row = connection.execute("SELECT key FROM handbooks WHERE name = ?", (self.name,)).fetchone()
        return 0 if row is None else int(row[0])
