"""The record of runs: written row by row while they go on, read back whole.

What a step has to say is gathered in memory, which costs next to nothing, and `commit` writes it
in one transaction, all of it or nothing. The rest of the house decides when: after the intents of
calls and before their requests leave, and before anything is built on a result.

Texts and numbers come back exactly as they were, NaN excepted, which SQLite stores as no value.
"""

from __future__ import annotations

import asyncio
import sqlite3
import warnings
from typing import Any

from orchestrator.errors import StoreError, UserError
from orchestrator.memory.base import (
    BatchRun,
    CallIntent,
    CallResult,
    DecisionRow,
    EventRow,
    OutcomeRow,
    RunRow,
    RunSummary,
    SignalRow,
    StepRow,
    StoredRun,
)
from orchestrator.memory.owners import Owner, is_alive, this_process
from orchestrator.memory.reading import Reader, find, find_exactly
from orchestrator.memory.rows import LAYOUTS, RUNS, TABLES, Layout
from orchestrator.memory.store import Store
from orchestrator.memory.summaries import SUMMARIES, summary
from orchestrator.memory.texts import Texts

__all__ = ["Journal"]

_LAST_NUMBERS = [f"SELECT max(n) AS n FROM {each.table} WHERE run = :run" for each in LAYOUTS.values() if each.numbered]
_LAST_NUMBER = f"SELECT max(n) FROM ({' UNION ALL '.join(_LAST_NUMBERS)})"
_CLAIM = "INSERT OR REPLACE INTO claims (run, pid, started, host) VALUES (?, ?, ?, ?)"
_OWNER = "SELECT pid, started, host FROM claims WHERE run = ?"
_UNCLAIM = "DELETE FROM claims WHERE run = ?"
_ID = "SELECT id FROM runs WHERE key = ?"


class Journal:
    """The runs of one store. Any number of runs and threads may write through one journal.

    Reads see what was committed. Every method that touches the file may raise StoreError.
    """

    def __init__(self, store: Store) -> None:
        self._waiting: list[Any] = []
        self._store = store
        self._texts = Texts()
        self._next: dict[int, int] = {}
        self._owner = this_process()
        self._executing: set[int] = set()
        self._asked: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}

    def open_run(self, row: RunRow) -> int:
        """Store a run at once, claimed for this process, and return its number, which its other rows carry."""
        try:
            with self._store.transaction() as connection:
                key = connection.execute(RUNS.insert, self._values(connection, RUNS, row)).lastrowid
                assert key is not None
                connection.execute(_CLAIM, (key, *self._owner))
        except BaseException:
            self._forget()
            raise
        self._next[key] = 0
        self._executing.add(key)
        return key

    def intent(self, row: CallIntent) -> None:
        """Note a call that is about to be sent; commit before it is."""
        self._waiting.append(row)

    def result(self, row: CallResult) -> None:
        """Note what came of a call."""
        self._waiting.append(row)

    def signal(self, row: SignalRow) -> None:
        """Note a measured value."""
        self._waiting.append(row)

    def decision(self, row: DecisionRow) -> None:
        """Note what was chosen and why."""
        self._waiting.append(row)

    def step(self, row: StepRow) -> None:
        """Note a kept step, or that steps were taken away."""
        self._waiting.append(row)

    def event(self, row: EventRow) -> None:
        """Note something else worth knowing."""
        self._waiting.append(row)

    def outcome(self, row: OutcomeRow) -> None:
        """Note how a run ended; with it goes the claim on the run."""
        self._executing.discard(row.run)
        self._waiting.append(row)

    def commit(self) -> None:
        """Write everything noted so far, by any run, in one transaction and in order.

        If that fails nothing is written and nothing is lost: the rows wait for the next commit.
        """
        if not self._waiting:
            return
        with self._store.lock:
            rows = self._waiting[:]  # a copy: other threads may note more while these are written
            try:
                with self._store.transaction() as connection:
                    for row in rows:
                        self._write(connection, row)
            except BaseException:
                self._forget()
                raise
            del self._waiting[: len(rows)]

    async def written(self) -> None:
        """Return when everything noted so far is on disk.

        Runs that ask in the same turn of their event loop share one transaction: with hundreds of them
        that is most of what a commit costs.
        """
        if len(self._executing) < 2:
            self.commit()
            return
        loop = asyncio.get_running_loop()
        asked = self._asked.get(loop)
        if asked is None:
            asked = self._asked[loop] = []
            loop.call_soon(self._write_for, loop)
        done = loop.create_future()  # one each: whoever is cancelled cancels nobody else
        asked.append(done)
        await done

    def _write_for(self, loop: asyncio.AbstractEventLoop) -> None:
        asked = [done for done in self._asked.pop(loop) if not done.done()]
        try:
            self.commit()
        except StoreError as error:
            for done in asked:
                done.set_exception(error)
        else:
            for done in asked:
                done.set_result(None)

    def close(self) -> None:
        """Commit what waits. The store stays open: it belongs to whoever opened it."""
        self.commit()

    def __del__(self) -> None:
        if self._waiting:
            warnings.warn(f"{len(self._waiting)} rows of a journal were never committed", ResourceWarning, stacklevel=2)

    def _forget(self) -> None:
        """Drop what was remembered of the file: the transaction it came from was undone."""
        self._texts.forget()
        self._next.clear()

    def _write(self, connection: sqlite3.Connection, row: Any) -> None:
        layout = LAYOUTS[type(row)]
        values = self._values(connection, layout, row)
        if layout.numbered:
            values.append(self._number(connection, row.run))
        connection.execute(layout.insert, values)
        if layout.record is OutcomeRow:
            connection.execute(_UNCLAIM, (row.run,))

    def _values(self, connection: sqlite3.Connection, layout: Layout, row: tuple[Any, ...]) -> list[Any]:
        values = list(row)
        self._texts.store(connection, values, layout.texts)
        return values

    def _number(self, connection: sqlite3.Connection, run: int) -> int:
        """Return the place of the next row of `run`: asked of the file once, counted from then on."""
        number = self._next.get(run)
        if number is None:
            last = connection.execute(_LAST_NUMBER, {"run": run}).fetchone()[0]
            number = 0 if last is None else last + 1
        self._next[run] = number + 1
        return number

    def claim(self, run: int) -> None:
        """Make this process the one that executes a stored run; a claim whose process is gone is taken over.

        Raises UserError, naming the process, while another one executes it.
        """
        with self._store.transaction() as connection:
            held = connection.execute(_OWNER, (run,)).fetchone()
            if held is not None and held != self._owner and is_alive(Owner(*held)):
                name = connection.execute(_ID, (run,)).fetchone()[0]
                raise UserError(f"run {name} is being executed by process {held[0]}: wait for it or end it first")
            connection.execute(_CLAIM, (run, *self._owner))
            self._next.pop(run, None)  # another process may have written rows since we did
        self._executing.add(run)

    def release(self, run: int) -> None:
        """Give up this process's claim on a run that stops before its end. Another process's claim stays."""
        self._executing.discard(run)
        with self._store.transaction() as connection:
            if connection.execute(_OWNER, (run,)).fetchone() == self._owner:
                connection.execute(_UNCLAIM, (run,))

    def run(self, name: str) -> StoredRun:
        """Return a run by its id, the beginning of its id, or `last` for the newest.

        Raises UnknownName, listing similar ids, or UserError if several ids begin like that.
        """
        with self._store.reading() as connection:
            key = find(connection, name, self._store.path)
            return Reader(connection, self._texts).run(key)

    def stored(self, run_id: str) -> StoredRun | None:
        """Return the run with exactly this id, or None: for programs, as `run` is for people."""
        with self._store.reading() as connection:
            key = find_exactly(connection, run_id)
            return None if key is None else Reader(connection, self._texts).run(key)

    def runs(self, limit: int = 20, status: str | None = None) -> list[RunSummary]:
        """Return up to `limit` runs, newest first; only those with `status` if one is given."""
        found: list[RunSummary] = []
        with self._store.reading() as connection:
            for row in connection.execute(SUMMARIES):
                if len(found) == limit:
                    break
                line = summary(row)
                if status is None or line.status == status:
                    found.append(line)
        return found

    def batch(self, name: str) -> list[BatchRun]:
        """Return the newest run of each task of a batch, by position; empty for an unknown batch."""
        with self._store.reading() as connection:
            return Reader(connection, self._texts).batch(name)

    def latest_batch(self) -> str | None:
        """Return the batch of the newest run, or None if there is no run."""
        with self._store.reading() as connection:
            return Reader(connection, self._texts).newest_batch()

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each table."""
        with self._store.reading() as connection:
            return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
