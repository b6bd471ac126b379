"""Take runs away: nothing is ever removed but by this; see pruning_plan for which.

Runs go newest first, a few in a transaction, so that no child is ever without its parent, and each is there whole or
not at all, whenever the process dies. Between transactions as much time is left to other writers as one has taken.
The texts that nothing refers to any more are swept behind the runs; see unused_texts.
"""

from __future__ import annotations

import sqlite3
from time import monotonic, sleep, time
from typing import NamedTuple

from orchestrator.errors import StoreLocked
from orchestrator.memory.base import CallIntent, CallResult
from orchestrator.memory.pruning_plan import Plan, plan
from orchestrator.memory.rows import LAYOUTS
from orchestrator.memory.running import live_claims
from orchestrator.memory.store import Store
from orchestrator.memory.unused_texts import HELD_S, sweep
from orchestrator.memory.words_file import discard_words
from orchestrator.visible import visible

__all__ = ["Pruned", "Pruning", "prune", "take"]

_LOG_PAGES = 1000
"""A pruning moves the log into the file before it is so long that a writer would have to: that takes long."""
_OF_RUN = tuple(
    f"DELETE FROM {table} WHERE run = ?"
    for table in ("claims", "rewards", "totals", LAYOUTS[CallResult].table, LAYOUTS[CallIntent].table)
) + tuple(f"DELETE FROM {each.table} WHERE run = ?" for each in LAYOUTS.values() if each.numbered)


class Pruned(NamedTuple):
    """What a pruning came to."""

    runs: int
    texts: int
    """Texts that nothing referred to any more, those of earlier prunings included."""
    stayed: int
    """Planned runs that stayed: since the plan they are executed, or changed, or something depends on them."""


class Pruning:
    """One pruning that goes on: its row in `prunings` is replaced in each of its transactions.

    Its number rises with every transaction, so a journal that has the file open hears of it in its next one, and is
    above `newest_run`, so no number of a run is ever given again.
    """

    def __init__(self, store: Store, why: str, newest_run: int = 0) -> None:
        self._store = store
        self._why = visible(why)
        self._above = newest_run
        self._number: int | None = None
        self.runs = 0

    def note(self, connection: sqlite3.Connection, runs: int = 0) -> None:
        """Write that `runs` more were taken, in the transaction that takes them.

        Raises StoreLocked where another pruning has begun since.
        """
        (last,) = connection.execute("SELECT max(number) FROM prunings").fetchone()
        if self._number is not None and last != self._number:
            raise StoreLocked(f"{self._store.path} is being pruned by another process: wait for it, then prune again")
        number = max(last or 0, self._above) + 1
        connection.execute("DELETE FROM prunings WHERE number = ?", (self._number,))
        row = (number, self.runs + runs, self._why, time())
        connection.execute("INSERT INTO prunings (number, runs, why, at_s) VALUES (?, ?, ?, ?)", row)
        self._number = number
        self.runs += runs


def prune(store: Store, planned: Plan) -> Pruned:
    """Take the planned runs, but for those that must stay by now, and every text that nothing refers to any more.

    May be killed at any moment: each run is gone or there as a whole, and the next pruning finds the texts.
    Give it a store of its own: whoever shares it waits until all is done. Raises StoreLocked where another process
    prunes, too.
    """
    again = plan(store, planned.rules, planned.now_s)  # it may be long since somebody was asked
    agreed = set(planned.keys)
    return take(store, again._replace(keys=tuple(key for key in again.keys if key in agreed)), len(planned.keys))


def take(store: Store, planned: Plan, asked: int) -> Pruned:
    """Take what was planned a moment ago; `asked` runs were to go at first."""
    pruning = Pruning(store, str(planned.rules), planned.newest_run)
    waiting, stayed = list(reversed(planned.keys)), set[int]()
    # With them on SQLite looks through all states for each run; what refers to it goes in the same transaction.
    with store.lock:
        store.connection.execute("PRAGMA foreign_keys = OFF")
        store.connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        try:
            while waiting:
                began_s = monotonic()
                with store.transaction() as connection:
                    _take_some(connection, pruning, planned, waiting, stayed)
                sleep(monotonic() - began_s)
            texts = sweep(store, pruning)
        finally:
            discard_words(store.path)  # it tells what was in runs that are gone; whoever searches makes it anew
            store.connection.execute("PRAGMA foreign_keys = ON")
    return Pruned(pruning.runs, texts, asked - pruning.runs)


def _take_some(
    connection: sqlite3.Connection, pruning: Pruning, planned: Plan, waiting: list[int], stayed: set[int]
) -> None:
    """Take runs from the end of `waiting` for as long as a transaction may last, at least one."""
    until_s, num_taken = monotonic() + HELD_S, 0
    needed = _needed_since(connection, planned)
    while waiting and (not num_taken or monotonic() < until_s):
        key = waiting.pop()
        if key in needed or key in stayed:
            stayed.add(key)
            stayed.update(() if key not in planned.parents else (planned.parents[key],))
        else:
            num_taken += 1
            _take(connection, key, planned.taught.get(key, ()))
    pruning.note(connection, num_taken)


def _needed_since(connection: sqlite3.Connection, planned: Plan) -> set[int]:
    """Return the runs that something has come to depend on since the plan."""
    parents = "SELECT key FROM runs WHERE id IN (SELECT parent FROM runs WHERE key > ?)"
    teachers = "SELECT run FROM states WHERE rowid > ?"
    found = connection.execute(f"{parents} UNION {teachers}", (planned.newest_run, planned.newest_state))
    return {*live_claims(connection), *(key for (key,) in found)}


def _take(connection: sqlite3.Connection, key: int, states: tuple[int, ...]) -> None:
    connection.executemany("DELETE FROM states WHERE rowid = ?", [(row,) for row in states])
    for statement in _OF_RUN:
        connection.execute(statement, (key,))
    connection.execute("DELETE FROM runs WHERE key = ?", (key,))
