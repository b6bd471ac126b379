"""Which runs a pruning takes, and why others stay.

Rules choose runs, every one of them narrowing the choice. Of these some stay: what is being executed, what a kept run
is a fork of, and what a router's state was learned from, if it is the newest or one that a kept run began with.
A run's reward and what older states it taught go with it; a handbook keeps what it learned, and the run's id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from json import dumps, loads
from time import time
from typing import NamedTuple

from orchestrator.errors import UserError
from orchestrator.memory.base import LEARNED, CallResult, EventRow, OutcomeRow, StepRow
from orchestrator.memory.reading import find
from orchestrator.memory.rows import LAYOUTS
from orchestrator.memory.running import live_claims
from orchestrator.memory.store import Store
from orchestrator.memory.texts import Texts, decoded

__all__ = ["EXECUTED", "FORKED", "TAUGHT", "Plan", "Rules", "plan"]

EXECUTED = "being executed"
FORKED = "a run that stays is a fork of it"
TAUGHT = "a router's state was learned from it"

_ROW_BYTES = 64
"""Bytes of a row beside its texts, about."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a pruning may take; each rule narrows it."""

    runs: tuple[str, ...] = ()
    """Ids, beginnings of ids, or `last`; empty for all runs."""
    older_than_s: float | None = None
    """Runs that began at least so many seconds ago."""
    keep_last: int | None = None
    """The newest so many of what the other rules choose stay."""
    status: str | None = None
    """A `Status`, or `interrupted`: it did not end and no process works on it."""
    batch: str | None = None
    """How the name of the batch begins, at least one letter."""
    with_forks: bool = False
    """Take the forks of what is chosen, too; no rule by itself."""

    def __post_init__(self) -> None:
        if not self.runs and all(rule is None for rule in (self.older_than_s, self.keep_last, self.status, self.batch)):
            raise UserError(
                "nothing says which runs to prune: give ids, or an age, a number to keep, a status, a batch"
            )
        if self.batch == "":
            raise UserError("batch is empty, as every name begins: give how the batch's name begins")
        if self.older_than_s is not None and not self.older_than_s >= 0:
            raise UserError(f"older_than_s is {self.older_than_s!r}: give seconds, at least 0")
        if self.keep_last is not None and self.keep_last < 0:
            raise UserError(f"keep_last is {self.keep_last!r}: give how many runs stay, at least 0")

    def __str__(self) -> str:
        said = [
            " ".join(self.runs),
            "" if self.older_than_s is None else f"older than {self.older_than_s / 86400:g} days",
            "" if self.status is None else f"status {self.status}",
            "" if self.batch is None else f"batches {self.batch}...",
            "" if self.keep_last is None else f"all but the newest {self.keep_last}",
        ]
        return ", ".join(filter(None, said)) + " with forks" * self.with_forks


class Plan(NamedTuple):
    """What would go, as of one moment."""

    keys: tuple[int, ...]
    """The journal's own numbers of the runs, newest first."""
    steps: int
    """Rows of steps, replaced ones included."""
    bytes: int
    """What their rows and texts weigh, about."""
    stays: Mapping[str, int]
    """Why runs that the rules choose stay -> how many."""
    rules: Rules
    """With whole ids."""
    now_s: float
    parents: Mapping[int, int]
    """A run among `keys` -> the run it was forked from."""
    taught: Mapping[int, tuple[int, ...]]
    """A run among `keys` -> row numbers of the states that were learned from it."""
    newest_run: int
    """The highest number of a run; of a state likewise below."""
    newest_state: int


class _Found(NamedTuple):
    key: int
    id: str
    parent: str | None
    batch: str
    created_s: float
    status: str


_RUNS = """
    SELECT r.key, r.id, r.parent, batch.text, r.created_s, status.text
    FROM runs r JOIN texts batch ON batch.id = r.batch
    LEFT JOIN outcomes o ON o.run = r.key AND o.n = (SELECT max(n) FROM outcomes WHERE run = r.key)
    LEFT JOIN texts status ON status.id = o.status ORDER BY r.key DESC
"""
_STATES = "SELECT rowid, policy, version, run FROM states ORDER BY policy, version"
_BEGAN_WITH = "SELECT events.run, texts.text FROM events JOIN texts ON texts.id = events.detail WHERE events.kind = ?"
_GOING = "(SELECT value FROM json_each(?1))"
_HEAVY = {
    "runs": "task",
    LAYOUTS[CallResult].table: "text",
    LAYOUTS[StepRow].table: "text",
    LAYOUTS[EventRow].table: "detail",
    LAYOUTS[OutcomeRow].table: "ledger",
}
"""Where a run's own texts are; the others are names that runs share."""


def plan(store: Store, rules: Rules, now_s: float | None = None) -> Plan:
    """Return what a pruning by `rules` would take; nothing is written.

    Raises UnknownName or UserError for a name that is none, or several runs'.
    """
    with store.reading() as connection:
        named = {find(connection, name, store.path) for name in rules.runs}
        now_s = time() if now_s is None else now_s
        runs = [
            _Found(key, run_id, parent, decoded(batch), created_s, decoded(status or "interrupted"))
            for key, run_id, parent, batch, created_s, status in connection.execute(_RUNS)
        ]
        chosen = _chosen(runs, rules, named, now_s)
        numbers = {run.id: run.key for run in runs}
        parents = {run.key: numbers[run.parent] for run in runs if run.parent in numbers}
        if rules.with_forks:
            chosen |= {key for key in parents if _goes_back_to(key, parents, chosen)}
        states = connection.execute(_STATES).fetchall()
        stays = _staying(connection, chosen, parents, states)
        keys = tuple(sorted(chosen - stays.keys(), reverse=True))
        going = set(keys)
        taught: dict[int, tuple[int, ...]] = {}
        for row, _, _, run in states:
            if run in going:
                taught[run] = (*taught.get(run, ()), row)
        return Plan(
            keys,
            *_weight(connection, keys),
            {why: sum(1 for each in stays.values() if each == why) for why in sorted(set(stays.values()))},
            replace(rules, runs=tuple(run.id for run in runs if run.key in named)),
            now_s,
            {key: parents[key] for key in keys if key in parents},
            taught,
            max(numbers.values(), default=0),
            max((row for row, *_ in states), default=0),
        )


def _chosen(runs: list[_Found], rules: Rules, named: set[int], now_s: float) -> set[int]:
    latest_s = None if rules.older_than_s is None else now_s - rules.older_than_s
    found = [
        run.key
        for run in runs
        if (not named or run.key in named)
        and (latest_s is None or run.created_s <= latest_s)
        and (rules.status is None or run.status == rules.status)
        and (rules.batch is None or run.batch.startswith(rules.batch))
    ]
    return set(found[rules.keep_last or 0 :])


def _goes_back_to(key: int, parents: Mapping[int, int], chosen: set[int]) -> bool:
    """Return whether a run, or one it goes back to, is among `chosen`."""
    while key not in chosen and key in parents:
        key = parents[key]
    return key in chosen


def _staying(
    connection: sqlite3.Connection, chosen: set[int], parents: Mapping[int, int], states: list[tuple[int, ...]]
) -> dict[int, str]:
    """Return which of `chosen` stay, and why."""
    stays = {run: EXECUTED for run in live_claims(connection) if run in chosen}
    _keep_parents([key for key in parents if key not in chosen or key in stays], parents, chosen, stays)
    for run in _teachers(connection, states, chosen.difference(stays)):
        if run in chosen and run not in stays:
            stays[run] = TAUGHT
            _keep_parents([run], parents, chosen, stays)
    return stays


def _keep_parents(keys: Iterable[int], parents: Mapping[int, int], chosen: set[int], stays: dict[int, str]) -> None:
    for key in keys:
        while (parent := parents.get(key)) is not None:
            if parent in chosen:
                stays.setdefault(parent, FORKED)
            key = parent


def _teachers(connection: sqlite3.Connection, states: list[tuple[int, ...]], going: set[int]) -> set[int]:
    """Return the runs that states were learned from: each policy's newest, and those that kept runs began with."""
    if not states:
        return set()
    newest = {policy: run for _, policy, _, run in states}
    by_version = {(policy, version): run for _, policy, version, run in states}
    texts, found = Texts(), set(newest.values())
    for run, detail in connection.execute(_BEGAN_WITH, (texts.find(connection, LEARNED),)):
        if run not in going:
            began = loads(decoded(detail))
            teacher = by_version.get((texts.find(connection, began["policy"]) or 0, began["version"]))
            found.update(() if teacher is None else (teacher,))
    return found


def _weight(connection: sqlite3.Connection, keys: tuple[int, ...]) -> tuple[int, int]:
    """Return how many steps runs have, and what they weigh in bytes, about."""
    going = (dumps(keys),)
    rows = {
        table: connection.execute(f"SELECT count(*) FROM {table} WHERE run IN {_GOING}", going).fetchone()[0]
        for table in (each.table for each in LAYOUTS.values())
    }
    ids = f"SELECT ifnull(sum(length(ids)), 0) FROM {LAYOUTS[CallResult].table} WHERE run IN {_GOING}"
    heavy = " UNION ".join(
        f"SELECT {column} FROM {table} WHERE {'key' if table == 'runs' else 'run'} IN {_GOING}"
        for table, column in _HEAVY.items()
    )
    said = f"SELECT ifnull(sum(length(CAST(text AS BLOB)) + {_ROW_BYTES}), 0) FROM texts WHERE id IN ({heavy})"
    beside = sum(connection.execute(each, going).fetchone()[0] for each in (ids, said))
    return rows[LAYOUTS[StepRow].table], beside + _ROW_BYTES * sum(rows.values())
