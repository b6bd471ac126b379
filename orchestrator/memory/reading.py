"""Runs read back: found by name, and put together from their rows."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from orchestrator.errors import StoreError, UnknownName, UserError
from orchestrator.memory.base import (
    LEARNS,
    BatchRun,
    CallIntent,
    CallResult,
    CallRow,
    DecisionRow,
    EventRow,
    OutcomeRow,
    RunRow,
    SignalRow,
    StepRow,
    StoredRun,
)
from orchestrator.memory.rows import LAYOUTS, RUNS, Layout
from orchestrator.memory.texts import Texts

__all__ = ["Reader", "find", "find_exactly", "gone", "named", "pruned"]

_NEWEST = f"""
    SELECT coalesce(
        (SELECT key FROM runs JOIN texts ON texts.id = batch WHERE substr(text, 1, {len(LEARNS)}) <> '{LEARNS}'
         ORDER BY key DESC LIMIT 1),
        (SELECT max(key) FROM runs))
"""
_BY_ID = "SELECT key FROM runs WHERE id = ?"
_ID = "SELECT id FROM runs WHERE key = ?"
_PRUNED = "SELECT ifnull(sum(runs), 0), max(at_s) FROM prunings WHERE runs > 0"
_BY_PREFIX = "SELECT key, id FROM runs WHERE id >= :prefix AND id < :prefix || '~' ORDER BY id LIMIT :limit"
_RECENT_IDS = "SELECT id FROM runs ORDER BY key DESC LIMIT 1000"
_IN_BATCH = "SELECT max(key) FROM runs WHERE batch = ? GROUP BY position ORDER BY position"
_NEWEST_BATCH = f"SELECT batch FROM runs WHERE key = ({_NEWEST})"
_BATCHES = "SELECT batch FROM runs GROUP BY batch ORDER BY min(key) DESC"
_OF_KIND = f"""
    SELECT {", ".join(EventRow._fields)} FROM events WHERE kind = ? AND run NOT IN
        (SELECT key FROM runs JOIN texts ON texts.id = batch WHERE substr(text, 1, {len(LEARNS)}) = '{LEARNS}')
    ORDER BY run, n
"""
_MAX_LISTED = 5


def find(connection: sqlite3.Connection, name: str, path: str) -> int:
    """Return the number of the run called `name`: an id, the beginning of one, or `last`.

    `path` names the database in messages. Raises UnknownName, listing similar ids, or UserError
    if several ids begin like that.
    """
    if name == "last":
        newest: int | None = connection.execute(_NEWEST).fetchone()[0]
        if newest is None:
            raise UnknownName(f"{path} holds no run yet: run something first")
        return newest
    exact = find_exactly(connection, name)
    if exact is not None:
        return exact
    wanted = name.lower()
    matches = _matches(connection, wanted)
    if not matches:
        recent = [row[0] for row in connection.execute(_RECENT_IDS)]
        near = get_close_matches(wanted, recent, _MAX_LISTED, cutoff=0.0)
        known = f"the nearest are {', '.join(near)}" if near else "it holds no run yet"
        missing = f"; {were}" if (were := pruned(connection)) else ""
        raise UnknownName(f"no run {name!r} in {path}; {known}{missing}")
    if len(matches) > 1:
        listed = ", ".join(run_id for _, run_id in matches[:_MAX_LISTED])
        more = ", ..." if len(matches) > _MAX_LISTED else ""
        raise UserError(f"{name!r} is the beginning of several runs: {listed}{more}")
    return matches[0][0]


def find_exactly(connection: sqlite3.Connection, run_id: str) -> int | None:
    """Return the number of the run with this id, or None."""
    try:
        row = connection.execute(_BY_ID, (run_id,)).fetchone()
    except UnicodeEncodeError:  # a lone surrogate, which no id holds
        return None
    return None if row is None else row[0]


def named(connection: sqlite3.Connection, key: int) -> str:
    """Return the id of the run with this number. Raises StoreError where it was pruned after it was found."""
    row = connection.execute(_ID, (key,)).fetchone()
    if row is None:
        raise gone(key)
    return str(row[0])


def gone(key: int) -> StoreError:
    """Return what to raise for the number of a run that is not there."""
    return StoreError(f"there is no run number {key} any more: it was pruned meanwhile")


def pruned(connection: sqlite3.Connection) -> str:
    """Return what to say to whoever misses a run; nothing where none was ever pruned."""
    num_runs, at_s = connection.execute(_PRUNED).fetchone()
    if not num_runs:
        return ""
    runs = "1 run was" if num_runs == 1 else f"{num_runs} runs were"
    return f"{runs} pruned, the last on {datetime.fromtimestamp(at_s):%Y-%m-%d}"


def _matches(connection: sqlite3.Connection, prefix: str) -> list[tuple[int, str]]:
    if not prefix.isascii():  # no id holds such a character, and SQLite does not take all of them
        return []
    return connection.execute(_BY_PREFIX, {"prefix": prefix, "limit": _MAX_LISTED + 1}).fetchall()


class Reader:
    """Rows made records again, inside one reading transaction of the caller's."""

    def __init__(self, connection: sqlite3.Connection, texts: Texts) -> None:
        self._connection = connection
        self._texts = texts
        self._read: dict[int, str] = {}

    def run(self, key: int) -> StoredRun:
        """Return everything about one run."""
        results = {result.seq: result for result in self._rows(LAYOUTS[CallResult], key)}
        outcomes = self._rows(LAYOUTS[OutcomeRow], key)
        return StoredRun(
            key=key,
            run=self._run_row(key),
            calls=[CallRow(intent, results.get(intent.seq)) for intent in self._rows(LAYOUTS[CallIntent], key)],
            signals=self._rows(LAYOUTS[SignalRow], key),
            decisions=self._rows(LAYOUTS[DecisionRow], key),
            steps=self._rows(LAYOUTS[StepRow], key),
            events=self._rows(LAYOUTS[EventRow], key),
            outcome=outcomes[-1] if outcomes else None,
        )

    def events(self, kind: str) -> list[EventRow]:
        """Return the events of one kind, run by run but for those of learners, each run's in order."""
        return self._records(LAYOUTS[EventRow], _OF_KIND, self._texts.find(self._connection, kind))

    def batch(self, name: str) -> list[BatchRun]:
        """Return the newest run of each position of a batch, by position."""
        number = self._texts.find(self._connection, name)
        keys = self._connection.execute(_IN_BATCH, (number,)).fetchall()
        return [self.ended(key) for (key,) in keys]

    def newest_batch(self) -> str | None:
        """Return the batch of the newest run that is no question of ours, or None if there is no run."""
        row = self._connection.execute(_NEWEST_BATCH).fetchone()
        return None if row is None else self._text(row[0])

    def batches(self, prefix: str) -> list[str]:
        """Return the batches whose names begin with `prefix`, the one that was begun last first."""
        names = (self._texts.read(self._connection, number) for (number,) in self._connection.execute(_BATCHES))
        return [name for name in names if name.startswith(prefix)]

    def ended(self, key: int) -> BatchRun:
        """Return a run and how it ended."""
        outcomes = self._rows(LAYOUTS[OutcomeRow], key)
        return BatchRun(key, self._run_row(key), outcomes[-1] if outcomes else None)

    def _run_row(self, key: int) -> RunRow:
        rows = self._rows(RUNS, key)
        if not rows:
            raise gone(key)
        row: RunRow = rows[0]
        return row

    def _rows(self, layout: Layout, key: int) -> list[Any]:
        return self._records(layout, layout.select, key)

    def _records(self, layout: Layout, select: str, value: int | None) -> list[Any]:
        records = []
        for row in self._connection.execute(select, (value,)):
            values = list(row)
            for place in layout.texts:
                values[place] = self._text(values[place])
            records.append(layout.record._make(values))
        return records

    def _text(self, number: int | None) -> str | None:
        if number is None:
            return None
        text = self._read.get(number)
        if text is None:
            text = self._read[number] = self._texts.read(self._connection, number)
        return text
