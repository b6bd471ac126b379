"""Behaviors by their meaning: vectors on disk as float16, one float32 matrix of them in memory, compared by cosine.

The matrix only grows: rows that are new on disk are put behind the others, and whether a behavior may be recalled is
asked of its row when it is among the nearest. So counting a use costs nothing here. Nor are all behaviors looked
through for those without a vector, while the handbook only grows: what was changed since is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from json import dumps
from typing import Any

from orchestrator.behaviors import Behavior
from orchestrator.errors import UserError
from orchestrator.memory.behavior_rows import whole

__all__ = ["Vectors", "meanings"]

_NEW = "SELECT n, behavior, version, vector FROM vectors WHERE +handbook = ? AND +space = ? AND n > ? ORDER BY n"
"""What is behind the last row that was read: the signs keep SQLite from looking through all others by their index."""
_ANY = "SELECT vector, behavior FROM vectors WHERE handbook = ? AND space = ? LIMIT 1"
_PUT = (
    "INSERT INTO vectors (handbook, space, behavior, version, vector) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (handbook, space, behavior, version) DO NOTHING"
)
_MISSING = (
    "SELECT id FROM behaviors WHERE handbook = :handbook AND is_active {among} AND NOT EXISTS (SELECT 1 FROM vectors "
    "WHERE vectors.handbook = :handbook AND space = :space AND behavior = id AND vectors.version = behaviors.version) "
    "ORDER BY id"
)
_AMONG = "AND id IN (SELECT value FROM json_each(:among))"
_PLACE = "SELECT head, last_seq FROM handbooks WHERE key = ?"
_SINCE = (
    "SELECT seq, changes.parent, json_extract(row.value, '$.id') FROM changes, json_each(after) AS row "
    "WHERE handbook = ? AND seq > ? ORDER BY seq"
)
_KNOWN = """
    SELECT space, behavior, vector FROM vectors
    JOIN behaviors ON behaviors.handbook = vectors.handbook AND id = behavior AND behaviors.version = vectors.version
    WHERE vectors.handbook = ? AND is_active ORDER BY space, behavior
"""


def meanings(connection: sqlite3.Connection, handbook: int) -> dict[int, Any]:
    """Return the vectors of active behaviors as they are now, float32 of length 1, by id, in the space that has most
    of them; the first by name of two that have as many. Inside a transaction of the caller's."""
    spaces: dict[str, dict[int, Any]] = {}
    for space, behavior, stored in connection.execute(_KNOWN, (handbook,)):
        known = spaces.setdefault(space, {})
        known[behavior] = _read(stored, behavior, len(next(iter(known.values()), ())))
    return max(spaces.values(), key=len, default={})


def _read(stored: Any, behavior: int, length: int) -> Any:
    """Return a stored vector as float32; one that is none, or not of that `length`, which is 0 for any, is damage."""
    from numpy import float16, float32, frombuffer, isfinite

    with whole(f"the vector of behavior {behavior}"):
        vector = frombuffer(stored, dtype=float16).astype(float32)
        if len(vector) != (length or len(vector)) or not len(vector):
            raise ValueError(f"it has {len(vector)} numbers, the others {length}")
        if not isfinite(vector).all():
            raise ValueError("not all of it are numbers")
    return vector


class Vectors:
    """The vectors of one handbook in one space, which is what one engine embeds into.

    Every method works inside a transaction of the caller's.
    """

    def __init__(self, space: str) -> None:
        self._space = space
        self._last = 0
        self._size = 0
        self._matrix: Any = None
        self._versions: list[tuple[int, int]] = []
        self._places: dict[tuple[int, int], int] = {}
        self._missing: list[int] = []
        self._place: tuple[int, int] | None = None
        """Head and last change of the handbook when it was looked for what is missing."""

    def missing(self, connection: sqlite3.Connection, handbook: int) -> list[int]:
        """Return ids of active behaviors that have no vector as they are now, the oldest first."""
        place = connection.execute(_PLACE, (handbook,)).fetchone() or (0, 0)
        wanted = {"handbook": handbook, "space": self._space}
        if (touched := self._touched(connection, handbook, place)) is None:
            query = _MISSING.format(among="")
        else:
            query = _MISSING.format(among=_AMONG)
            wanted["among"] = dumps(sorted({*self._missing, *touched}))
        self._missing = [id for (id,) in connection.execute(query, wanted)]
        self._place = place
        return self._missing

    def _touched(self, connection: sqlite3.Connection, handbook: int, place: tuple[int, int]) -> list[int] | None:
        """Return what changed since it was last looked for what is missing; None where that takes looking at all."""
        if self._place is None or place == self._place:
            return None if self._place is None else []
        head, last = self._place
        changes = connection.execute(_SINCE, (handbook, last)).fetchall()
        parents = {seq: parent for seq, parent, _ in changes}
        way = [head, *parents]
        has_only_grown = [*parents.values()] == way[:-1] and place == (way[-1], way[-1])
        return [id for _, _, id in changes] if has_only_grown else None

    def put(self, connection: sqlite3.Connection, handbook: int, given: Mapping[Behavior, Sequence[float]]) -> None:
        """Store what behaviors mean, as they are now. Raises UserError for vectors of another length, or of none."""
        from numpy import float16

        stored = connection.execute(_ANY, (handbook, self._space)).fetchone()
        length = len(_read(stored[0], stored[1], 0)) if stored else 0
        for behavior, vector in given.items():
            unit = _unit(vector, behavior.name, length)
            length = len(unit)
            row = (handbook, self._space, behavior.id, behavior.version, unit.astype(float16).tobytes())
            connection.execute(_PUT, row)

    def nearest(
        self,
        connection: sqlite3.Connection,
        handbook: int,
        vector: Sequence[float],
        limit: int,
        is_wanted: Callable[[Sequence[int]], Mapping[int, int]],
        beside: Iterable[tuple[int, int]] = (),
    ) -> list[tuple[int, float]]:
        """Return ids and cosines in [-1, 1], nearest first; equal ones by id.

        They are the nearest `limit`, and those `beside` them, given as ids and versions, that have vectors. `is_wanted`
        returns those of some ids that may be recalled, with the versions that they have.
        """
        from numpy import argpartition

        self._refresh(connection, handbook)
        unit = _unit(vector, "the question", self._matrix.shape[1] if self._size else 0)
        if not self._size:
            return []
        likeness = self._matrix[: self._size] @ unit
        looked_at = limit
        while True:
            looked_at = min(looked_at, self._size)
            places: Any = argpartition(-likeness, looked_at - 1)[:looked_at] if looked_at else []
            rows = [(*self._versions[place], float(likeness[place])) for place in places]
            wanted = is_wanted([id for id, _, _ in rows])
            found = [(id, value) for id, version, value in rows if wanted.get(id) == version]
            if len(found) >= limit or looked_at == self._size:
                nearest = dict(sorted(found, key=lambda each: (-each[1], each[0]))[:limit])
                places = {each[0]: self._places[each] for each in beside if each in self._places}
                nearest |= {id: float(likeness[place]) for id, place in places.items()}
                return sorted(nearest.items(), key=lambda each: (-each[1], each[0]))
            looked_at *= 8

    def _refresh(self, connection: sqlite3.Connection, handbook: int) -> None:
        """Put what is new on disk into the matrix."""
        from numpy import empty, float32

        for n, behavior, version, stored in connection.execute(_NEW, (handbook, self._space, self._last)):
            vector = _read(stored, behavior, self._matrix.shape[1] if self._size else 0)
            if self._matrix is None:
                self._matrix = empty((1024, len(vector)), dtype=float32)
            if self._size == len(self._matrix):
                grown = empty((2 * self._size, len(vector)), dtype=float32)
                grown[: self._size] = self._matrix
                self._matrix = grown
            self._matrix[self._size] = vector
            self._places[behavior, version] = len(self._versions)
            self._versions.append((behavior, version))
            self._size, self._last = self._size + 1, n


def _unit(vector: Sequence[float], whose: str, length: int) -> Any:
    """Return a vector as float32 of length 1. Raises UserError unless it has `length` numbers, 0 for any."""
    from numpy import asarray, float32, isfinite
    from numpy.linalg import norm

    try:
        given = asarray(vector, dtype=float32)
    except (TypeError, ValueError):
        raise UserError(f"the embedding of {whose} is {vector!r:.40}: its engine gave no numbers") from None
    size = float(norm(given)) if given.ndim == 1 else 0.0
    if not isfinite(size) or size == 0:
        raise UserError(f"the embedding of {whose} is no direction: its engine gave zeros, or no numbers")
    if len(given) != (length or len(given)):
        raise UserError(f"the embedding of {whose} has {len(given)} numbers, the others {length}")
    return given / size
