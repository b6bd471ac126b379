"""Whether a journal is sound: each flaw on one line, with what mends it. Nothing is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from json import dumps
from typing import NamedTuple

from orchestrator.errors import StoreCorrupt
from orchestrator.memory.opening import SCHEMA
from orchestrator.memory.owners import Owner, is_alive
from orchestrator.memory.rows import TEXT_COLUMNS
from orchestrator.memory.store import Store
from orchestrator.memory.texts import digest
from orchestrator.memory.totals import TOTALS
from orchestrator.memory.unused_texts import WANTED
from orchestrator.visible import counted

__all__ = ["Finding", "check"]

_MOST = 5
"""Flaws of a kind that are told one by one."""
_RESTORE = "take a copy of before, or put what `trace export --all` can read into a new journal with `trace import`"
_TAKE_AWAY = "take a copy of before, or remove these runs with `trace prune RUN...`"
_COUNTS = "prompt_tokens, output_tokens, large_tokens"
_DIFFER = f"""
    SELECT count(DISTINCT run) FROM (
        SELECT run, {_COUNTS} FROM main.totals UNION SELECT run, {_COUNTS} FROM ({TOTALS})
        EXCEPT SELECT * FROM (SELECT run, {_COUNTS} FROM main.totals INTERSECT SELECT run, {_COUNTS} FROM ({TOTALS})))
"""
_CLAIMS = "SELECT id, pid, started, host FROM claims LEFT JOIN runs ON runs.key = claims.run ORDER BY run"


class Finding(NamedTuple):
    """One line of the report."""

    state: str
    """`ok`, `note` (sound, but worth knowing) or `bad`."""
    what: str
    found: str
    """With the mend where it is none of `ok`."""


def check(store: Store, *, full: bool = False) -> Iterator[Finding]:
    """Yield what is found of each matter, all of one moment; `full` reads every index entry, too.

    The file may be written meanwhile, and its writers do not wait.
    """
    for what, look in (
        ("pages", _full if full else _quick),
        ("links", _links),
        ("texts", _texts),
        ("totals", _totals),
        ("claims", _claims),
        ("pruning", _pruning),
        ("schema", _schema),
    ):
        try:
            with store.reading() as connection:
                found = [*look(connection)]
        except StoreCorrupt as error:
            found = [Finding("bad", what, f"{error.why or error}: {_RESTORE}")]
        yield from found or [Finding("ok", what, _SOUND[what])]


_SOUND = {
    "pages": "every page can be read",
    "links": "every row belongs to a run that is there",
    "texts": "every text that a row refers to is there, as it was stored",
    "totals": "what runs came to agrees with their ledgers",
    "claims": "no process died over a run",
    "pruning": "none was cut short",
    "schema": f"the newest, {SCHEMA}",
}


def _quick(connection: sqlite3.Connection) -> Iterator[Finding]:
    return _pages(connection, "quick_check")


def _full(connection: sqlite3.Connection) -> Iterator[Finding]:
    return _pages(connection, "integrity_check")


def _pages(connection: sqlite3.Connection, how: str) -> Iterator[Finding]:
    for (said,) in connection.execute(f"PRAGMA main.{how}({_MOST})"):
        if said != "ok":
            yield Finding("bad", "pages", f"{' '.join(str(said).split())}: {_RESTORE}")


def _links(connection: sqlite3.Connection) -> Iterator[Finding]:
    broken: dict[tuple[str, str], int] = {}
    for table, _, missing, _ in connection.execute("PRAGMA main.foreign_key_check"):
        broken[table, missing] = broken.get((table, missing), 0) + 1
    for (table, missing), number in broken.items():
        yield Finding("bad", "links", f"{counted(number, 'row')} of {table} without their row of {missing}: {_RESTORE}")


def _texts(connection: sqlite3.Connection) -> Iterator[Finding]:
    for table, column in TEXT_COLUMNS:
        select = f"SELECT count(*) FROM {table} WHERE {column} NOT NULL AND {column} NOT IN (SELECT id FROM texts)"
        (number,) = connection.execute(select).fetchone()
        if number:
            yield Finding("bad", "texts", f"{counted(number, 'row')} of {table} without their {column}: {_RESTORE}")
    rows = connection.execute("SELECT id, digest, CAST(text AS BLOB) FROM texts")
    changed = [number for number, name, text in rows if digest(text) != name]
    if changed:
        runs = _runs_with(connection, changed)
        listed = ", ".join(runs[:_MOST]) + (f" and {len(runs) - _MOST} more" if len(runs) > _MOST else "")
        whose = f"in {counted(len(runs), 'run')}, {listed}" if runs else "in no run"
        yield Finding("bad", "texts", f"{counted(len(changed), 'text')} not as stored, {whose}: {_TAKE_AWAY}")


def _runs_with(connection: sqlite3.Connection, texts: list[int]) -> list[str]:
    """Return the ids of the runs that refer to any of these texts, the oldest first."""
    some = "(SELECT value FROM json_each(?1))"
    found = " UNION ".join(
        f"SELECT {'key' if table == 'runs' else 'run'} FROM {table} WHERE {column} IN {some}"
        for table, column in TEXT_COLUMNS
    )
    select = f"SELECT id FROM runs WHERE key IN ({found}) ORDER BY key"
    return [run for (run,) in connection.execute(select, (dumps(texts),))]


def _totals(connection: sqlite3.Connection) -> Iterator[Finding]:
    if _version(connection) < SCHEMA:
        return
    (number,) = connection.execute(_DIFFER).fetchone()
    if number:
        yield Finding(
            "bad", "totals", f"those of {counted(number, 'run')} differ from the ledgers: believe `trace show`"
        )


def _claims(connection: sqlite3.Connection) -> Iterator[Finding]:
    stale = [(run, pid) for run, pid, *rest in connection.execute(_CLAIMS) if not is_alive(Owner(pid, *rest))]
    for run, pid in stale[:_MOST]:
        yield Finding("note", "claims", f"process {pid} died over run {run}: `run --resume` goes on with it")
    if len(stale) > _MOST:
        yield Finding("note", "claims", f"and others over {counted(len(stale) - _MOST, 'more run')}")


def _pruning(connection: sqlite3.Connection) -> Iterator[Finding]:
    if connection.execute("SELECT 1 FROM main.sqlite_master WHERE name = ?", (WANTED,)).fetchone():
        yield Finding("note", "pruning", "one is going on or was cut short: `db vacuum` takes what it left")


def _schema(connection: sqlite3.Connection) -> Iterator[Finding]:
    if (version := _version(connection)) < SCHEMA:
        yield Finding("note", "schema", f"the older {version}: the next `run` brings it to {SCHEMA}")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA main.user_version").fetchone()[0]
    return version
