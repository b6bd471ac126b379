"""The record of runs: written row by row while they go on, read back whole.

What a step has to say is gathered in memory, which costs next to nothing, and `commit` writes it
in one transaction, all of it or nothing. The rest of the house decides when: after the intents of
calls and before their requests leave, and before anything is built on a result.

A row that SQLite can never take ends the record of its run, not that of the runs beside it.

Texts and numbers come back exactly as they were, NaN excepted, which SQLite stores as no value.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from orchestrator.errors import RunTaken, StoreError, UserError
from orchestrator.memory import learning
from orchestrator.memory.base import (
    BatchRun,
    CallIntent,
    CallResult,
    DecisionRow,
    EventRow,
    Learned,
    Lesson,
    OutcomeRow,
    RunRow,
    RunSummary,
    SignalRow,
    StepRow,
    StoredRun,
)
from orchestrator.memory.figures import Figures
from orchestrator.memory.owners import Owner, is_alive, this_process
from orchestrator.memory.reading import Reader, find, find_exactly, named
from orchestrator.memory.rows import LAYOUTS, RUNS, TABLES, Layout
from orchestrator.memory.store import Store
from orchestrator.memory.summaries import Listing, listed
from orchestrator.memory.texts import Texts
from orchestrator.memory.which import Which, sieve

__all__ = ["Journal"]

_LAST_NUMBERS = [f"SELECT max(n) AS n FROM {each.table} WHERE run = :run" for each in LAYOUTS.values() if each.numbered]
_LAST_NUMBER = f"SELECT max(n) FROM ({' UNION ALL '.join(_LAST_NUMBERS)})"
_CLAIM = "INSERT OR REPLACE INTO claims (run, pid, started, host, journal) VALUES (?, ?, ?, ?, ?)"
_OWNER = "SELECT pid, started, host, journal FROM claims WHERE run = ?"
_CLAIMS = """
    SELECT r.id, c.pid, c.started, c.host, c.journal FROM claims c JOIN runs r ON r.key = c.run ORDER BY r.key DESC
"""
_AFTER = "SELECT id FROM runs WHERE key > (SELECT key FROM runs WHERE id = ?) ORDER BY key LIMIT 1"
_UNCLAIM = "DELETE FROM claims WHERE run = ?"
_ID = "SELECT id FROM runs WHERE key = ?"
_KEY = "SELECT key FROM runs WHERE id = ?"
_IDS = "SELECT key, id FROM runs"  # sorted by us, so that the index of ids is read, not the rows
_NEXT = "SELECT min(key) FROM runs WHERE key > ?"
_BEFORE = "SELECT max(key) FROM runs WHERE key < ?"
_NUMBER_OF_RUNS = "SELECT count(*) FROM runs"

_BEHIND_ALL = 2**63 - 1
_PRUNED = "SELECT max(number) FROM prunings"

_HOPELESS = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    ArithmeticError,
    AttributeError,
    TypeError,
    ValueError,
)
"""What writing a row raises if the row itself is wrong: trying again cannot help."""

_PLAIN = {float, int, type(None)}
"""Types of a number that SQLite stores as what it is."""

_journals: WeakValueDictionary[str, Journal] = WeakValueDictionary()
"""The journals of this process that may execute runs, by the name they put into their claims."""


class Journal:
    """The runs of one store. Any number of runs and threads may write through one journal.

    Reads see what was committed. Every method that touches the file may raise StoreError.
    """

    def __init__(self, store: Store) -> None:
        self._waiting: list[Any] = []
        self._store = store
        self._texts = Texts()
        self._next: dict[int, int] = {}
        self._pruned: int | None = None
        self._name = secrets.token_hex(8)
        self._executing: set[int] = set()
        self._broken: dict[int, StoreError] = {}
        self._asked: dict[asyncio.AbstractEventLoop, list[tuple[int | None, asyncio.Future[None]]]] = {}

    def open_run(self, row: RunRow) -> int:
        """Store a run at once, claimed for this journal, and return its number, which its other rows carry.

        Raises RunTaken where there is one of that id, such as one that another process has begun meanwhile, and
        StoreError where the run it was forked from was pruned meanwhile.
        """
        try:
            with self._store.transaction() as connection:
                self._notice(connection)
                if connection.execute(_KEY, (row.id,)).fetchone():
                    raise RunTaken(f"run {row.id} has been begun already: wait for whoever executes it")
                if row.parent is not None and find_exactly(connection, row.parent) is None:
                    raise StoreError(f"run {row.parent} is gone, so it cannot be forked: it was pruned meanwhile")
                key = connection.execute(RUNS.insert, self._values(connection, RUNS, row)).lastrowid
                assert key is not None
                connection.execute(_CLAIM, (key, *self._claimant()))
        except BaseException:
            self._forget()
            raise
        self._next[key] = 0
        self._execute(key)
        return key

    def add(self, stored: StoredRun) -> None:
        """Store a run that another journal holds, all of it or nothing; nobody executes it here.

        Raises RunTaken where there is one of that id, and StoreError where a row cannot be stored.
        """
        try:
            with self._store.transaction() as connection:
                self._notice(connection)
                if connection.execute(_KEY, (stored.run.id,)).fetchone():
                    raise RunTaken(f"run {stored.run.id} is in {self._store.path} already")
                key = connection.execute(RUNS.insert, self._values(connection, RUNS, stored.run)).lastrowid
                calls = [row for call in stored.calls for row in call]
                rows: tuple[Any, ...] = (*calls, *stored.signals, *stored.decisions, *stored.steps, *stored.events)
                for row in (*rows, stored.outcome):
                    if row is not None:
                        self._write(connection, row._replace(run=key))
        except BaseException as error:
            self._forget()
            if isinstance(_cause(error), _HOPELESS):
                raise StoreError(f"{self._store.path}: run {stored.run.id} cannot be stored: {error}") from error
            raise

    def intent(self, row: CallIntent) -> None:
        """Note a call that is about to be sent; commit before it is."""
        self._note(row)

    def result(self, row: CallResult) -> None:
        """Note what came of a call."""
        self._note(row)

    def signal(self, row: SignalRow) -> None:
        """Note a measured value. Numbers of other libraries, such as numpy's, become plain ones."""
        if type(row.value) not in _PLAIN or type(row.raw) not in _PLAIN:
            row = row._replace(value=_plain(row.value), raw=_plain(row.raw))
        self._note(row)

    def decision(self, row: DecisionRow) -> None:
        """Note what was chosen and why. Numbers of other libraries, such as numpy's, become plain ones."""
        if type(row.threshold) not in _PLAIN or type(row.margin) not in _PLAIN:
            row = row._replace(threshold=_plain(row.threshold), margin=_plain(row.margin))
        self._note(row)

    def step(self, row: StepRow) -> None:
        """Note a kept step, or that steps were taken away."""
        self._note(row)

    def event(self, row: EventRow) -> None:
        """Note something else worth knowing."""
        self._note(row)

    def outcome(self, row: OutcomeRow) -> None:
        """Note how a run ended; with it goes the claim on the run."""
        self._note(row)
        self._executing.discard(row.run)

    def conclude(self, row: OutcomeRow, reward: float | None, lessons: Sequence[Lesson]) -> None:
        """Write how a run ended, what it was worth (None if nobody can say yet) and what was learned from it.

        All of that is on disk together or not at all. A run that has a reward, as one that failed and was
        tried again can, keeps it. Raises whatever a lesson raises.
        """
        self.commit(row.run)
        with self._learning() as connection:
            self._write(connection, row)
            is_new = reward is not None and learning.reward_of(connection, row.run) is None
            self._learn(connection, row.run, reward if is_new else None, lessons)
        self._executing.discard(row.run)

    def reward(self, run: int, value: float, lessons: Sequence[Lesson] = ()) -> None:
        """Store what a run was worth, once, and what `lessons` make of it, in one transaction.

        Raises UserError, naming the run, if it has a reward.
        """
        with self._learning() as connection:
            given = learning.reward_of(connection, run)
            if given is not None:
                raise UserError(
                    f"run {named(connection, run)} has its reward, {given:g}, and keeps it: a run is rewarded once"
                )
            self._learn(connection, run, value, lessons)

    @contextmanager
    def _learning(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._store.transaction() as connection:
                self._notice(connection)
                yield connection
        except BaseException:
            self._forget()
            raise

    def _learn(self, connection: sqlite3.Connection, run: int, reward: float | None, lessons: Sequence[Lesson]) -> None:
        if reward is not None:
            learning.give(connection, run, reward)
        for lesson in lessons:
            known = learning.learned_by(connection, self._texts, lesson.policy)
            state = lesson.learn(Reader(connection, self._texts).run(run), reward, known.state)
            learning.add(connection, self._texts, lesson.policy, known.version + 1, state, run)

    def learned(self, policy: str, version: int | None = None) -> Learned:
        """Return what `policy` had learned at `version`, by default the newest; nothing if it is unknown."""
        with self._store.reading() as connection:
            return learning.learned_by(connection, self._texts, policy, version)

    def reward_of(self, run: int) -> float | None:
        """Return what a run was worth, or None if nobody has said yet."""
        with self._store.reading() as connection:
            return learning.reward_of(connection, run)

    def _note(self, row: Any) -> None:
        if self._broken and row.run in self._broken:
            raise self._broken[row.run]
        self._waiting.append(row)

    def commit(self, run: int | None = None) -> None:
        """Write everything noted so far, by any run, in one transaction and in order.

        If that fails nothing is written and nothing is lost: the rows wait for the next commit. But a
        row that can never be written, such as a call noted twice, is dropped with everything noted
        behind the last commit of its run, whose record ends there: every later note or commit of that
        run raises StoreError until it is claimed again. Give `run` to hear of no other run's failure;
        without it this commit raises whatever it met.
        """
        met = self._write_waiting()
        if error := self._failure(run, met):
            raise error

    async def written(self, run: int | None = None) -> None:
        """Return when everything noted so far is on disk. Raises as `commit` does.

        Runs that ask in the same turn of their event loop share one transaction: with hundreds of them
        that is most of what a commit costs.
        """
        if len(self._executing) < 2:
            self.commit(run)
            return
        loop = asyncio.get_running_loop()
        asked = self._asked.get(loop)
        if asked is None:
            asked = self._asked[loop] = []
            loop.call_soon(self._write_for, loop)
        done = loop.create_future()  # one each: whoever is cancelled cancels nobody else
        asked.append((run, done))
        await done

    def _write_for(self, loop: asyncio.AbstractEventLoop) -> None:
        asked = [(run, done) for run, done in self._asked.pop(loop) if not done.done()]
        try:
            met = self._write_waiting()
        except BaseException as error:  # whatever it is, nobody may be left waiting
            for _, done in asked:
                done.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for run, done in asked:
            if failure := self._failure(run, met):
                done.set_exception(failure)
            else:
                done.set_result(None)

    def close(self) -> None:
        """Commit what waits and leave the claimed runs to others. The store stays open: its opener closes it."""
        self.commit()
        _journals.pop(self._name, None)

    def __del__(self) -> None:
        if self._waiting:
            warnings.warn(f"{len(self._waiting)} rows of a journal were never committed", ResourceWarning, stacklevel=2)

    def _failure(self, run: int | None, met: dict[int, StoreError]) -> StoreError | None:
        """Return what to tell `run`, or whoever names no run, after a write that met these failures."""
        if run is None:
            return next(iter(met.values()), None)
        return self._broken.get(run)

    def _write_waiting(self) -> dict[int, StoreError]:
        """Write what waits; return the failures of the runs that were left out because they cannot be written."""
        met: dict[int, StoreError] = {}
        if not self._waiting:
            return met
        with self._store.lock:
            rows = self._waiting[:]  # a copy: other threads may note more while these are written
            try:
                with self._store.transaction() as connection:
                    self._notice(connection)
                    for row in rows:
                        if row.run not in self._broken:
                            self._write(connection, row)
            except BaseException as error:
                self._forget()
                if not isinstance(_cause(error), _HOPELESS):
                    raise
                met = self._write_by_run(rows)
            del self._waiting[: len(rows)]
        return met

    def _write_by_run(self, rows: list[Any]) -> dict[int, StoreError]:
        """Write the rows of every run that can be written; mark the others as broken and return their failures."""
        by_run: dict[int, list[Any]] = {}
        for row in rows:
            if row.run not in self._broken:
                by_run.setdefault(row.run, []).append(row)
        met: dict[int, StoreError] = {}
        try:
            with self._store.transaction() as connection:
                self._notice(connection)
                for run, theirs in by_run.items():
                    connection.execute("SAVEPOINT run")
                    try:
                        for row in theirs:
                            self._write(connection, row)
                    except _HOPELESS as error:
                        connection.execute("ROLLBACK TO run")
                        self._forget()
                        met[run] = self._ended(connection, run, error)
                    connection.execute("RELEASE run")
        except BaseException:
            self._forget()
            raise
        self._broken.update(met)
        self._executing.difference_update(met)
        return met

    def _ended(self, connection: sqlite3.Connection, run: int, cause: Exception) -> StoreError:
        found = connection.execute(_ID, (run,)).fetchone()
        name = found[0] if found else f"number {run}"
        error = StoreError(f"{self._store.path}: the record of run {name} ends here, a row cannot be stored: {cause}")
        error.__cause__ = cause
        return error

    def _forget(self) -> None:
        """Drop what was remembered of the file: the transaction it came from was undone, or something was pruned."""
        self._texts.forget()
        self._next.clear()

    def _notice(self, connection: sqlite3.Connection) -> None:
        """Forget the file's numbers if something was pruned since the last transaction: their rows may be gone."""
        number = connection.execute(_PRUNED).fetchone()[0]
        if number != self._pruned:
            self._forget()
            self._pruned = number

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
        """Make this journal the one that executes a stored run; a claim whose owner is gone is taken over.

        Raises RunTaken, naming the process, while another process or another journal of this one executes it.
        """
        if run in self._broken:
            self._write_waiting()  # what the run noted before it knew is dropped, not taken for new
        claimant = self._claimant()
        with self._store.transaction() as connection:
            name = named(connection, run)
            held = connection.execute(_OWNER, (run,)).fetchone()
            if held is not None and held != claimant and _is_executing(*held):
                raise RunTaken(f"run {name} is being executed by process {held[0]}: wait for it or end it first")
            connection.execute(_CLAIM, (run, *claimant))
            self._next.pop(run, None)  # another process may have written rows since we did
        self._broken.pop(run, None)
        self._execute(run)

    def release(self, run: int) -> None:
        """Give up this journal's claim on a run that stops before its end. Another's claim stays."""
        self._executing.discard(run)
        with self._store.transaction() as connection:
            if connection.execute(_OWNER, (run,)).fetchone() == self._claimant():
                connection.execute(_UNCLAIM, (run,))

    def _execute(self, run: int) -> None:
        self._executing.add(run)
        _journals[self._name] = self

    def _claimant(self) -> tuple[int, str, str, str]:
        """Return what this journal writes into a claim: its process, as of now, and its own name."""
        return (*this_process(), self._name)

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

    def holds(self, run_id: str) -> bool:
        """Return whether there is a run with exactly this id."""
        with self._store.reading() as connection:
            return find_exactly(connection, run_id) is not None

    def runs(self, limit: int = 20, status: str | None = None, *, without: tuple[str, ...] = ()) -> list[RunSummary]:
        """Return up to `limit` runs, newest first; only those with `status` if one is given, and none of a batch whose
        name begins with one of `without`."""
        return self.listed(Which(status=status, without=without), limit).runs

    def listed(self, which: Which, limit: int = 20, by: str = "started") -> Listing:
        """Return the first `limit` runs that are meant, by one of `summaries.ORDERS`, and how many there are.

        Raises UnknownName, listing what there is, for a policy, an engine, a batch or a run that there is not.
        """
        with self._store.reading() as connection:
            return listed(connection, self._texts, which, self._store.path, limit=limit, by=by)

    @contextmanager
    def figures(self, which: Which) -> Iterator[Figures]:
        """Open what the runs that are meant come to together; no writer waits. Raises UnknownName as `listed`."""
        with self._store.reading() as connection:
            yield Figures(connection, self._texts, sieve(connection, self._texts, which, self._store.path))

    def events(self, kind: str) -> list[EventRow]:
        """Return the events of one kind, of every run but those of learners, run by run; each run's in order."""
        with self._store.reading() as connection:
            return Reader(connection, self._texts).events(kind)

    def each_run(self) -> Iterator[BatchRun]:
        """Yield every run with how it ended, oldest first; each is read when it is asked for, so memory holds one."""
        key = 0
        while True:
            with self._store.reading() as connection:
                key = connection.execute(_NEXT, (key,)).fetchone()[0]
                if key is None:
                    return
                found = Reader(connection, self._texts).ended(key)
            yield found

    def ids(self) -> list[str]:
        """Return the ids of all runs, oldest first; what is damaged in a run does not matter here."""
        with self._store.reading() as connection:
            return [name for _, name in sorted(connection.execute(_IDS))]

    def newest_first(self) -> Iterator[StoredRun]:
        """Yield everything about every run, newest first; each is read when it is asked for, so memory holds one."""
        key = _BEHIND_ALL
        while True:
            with self._store.reading() as connection:
                key = connection.execute(_BEFORE, (key,)).fetchone()[0]
                if key is None:
                    return
                found = Reader(connection, self._texts).run(key)
            yield found

    def number_of_runs(self) -> int:
        """Return how many runs there are."""
        with self._store.reading() as connection:
            number: int = connection.execute(_NUMBER_OF_RUNS).fetchone()[0]
        return number

    def at(self, key: int) -> StoredRun:
        """Return everything about the run with the journal's own number `key`."""
        with self._store.reading() as connection:
            return Reader(connection, self._texts).run(key)

    def changes(self) -> int:
        """Return a number that is another one after each commit of another process; see `Store.changes`."""
        return self._store.changes()

    def going_on(self) -> list[str]:
        """Return the ids of the runs that a process is executing, newest first."""
        with self._store.reading() as connection:
            claims = connection.execute(_CLAIMS).fetchall()
        return [name for name, *owner in claims if _is_executing(*owner)]

    def after(self, run_id: str) -> str | None:
        """Return the id of the run that was begun next after this one, None where there is none."""
        with self._store.reading() as connection:
            found = connection.execute(_AFTER, (run_id,)).fetchone()
        return None if found is None else found[0]

    def batch(self, name: str) -> list[BatchRun]:
        """Return the newest run of each task of a batch, by position; empty for an unknown batch."""
        with self._store.reading() as connection:
            return Reader(connection, self._texts).batch(name)

    def batches(self, prefix: str) -> list[str]:
        """Return the batches whose names begin with `prefix`, the one that was begun last first."""
        with self._store.reading() as connection:
            return Reader(connection, self._texts).batches(prefix)

    def latest_batch(self) -> str | None:
        """Return the batch of the newest run, or None if there is no run."""
        with self._store.reading() as connection:
            return Reader(connection, self._texts).newest_batch()

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each table."""
        with self._store.reading() as connection:
            return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


def _plain(number: float | None) -> float | None:
    return None if number is None else float(number)


def _cause(error: BaseException) -> BaseException:
    """Return the error that `translated` made a StoreError of, or `error` if it is none of SQLite's."""
    return error.__cause__ if isinstance(error, StoreError) and error.__cause__ else error


def _is_executing(pid: int, started: str, host: str, journal: str) -> bool:
    owner = Owner(pid, started, host)
    return journal in _journals if owner == this_process() else is_alive(owner)
