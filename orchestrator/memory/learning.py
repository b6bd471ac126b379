"""What policies have learned, version by version, and what runs were worth: the statements behind it.

Every function works inside a transaction of the caller's, so a reward and what was learned from it
are on disk together or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from json import dumps, loads
from time import time
from typing import Any

from orchestrator.errors import UnknownName, UserError
from orchestrator.memory.base import Learned
from orchestrator.memory.texts import Texts

__all__ = ["add", "give", "learned_by", "reward_of"]

_NEWEST = "SELECT version, state FROM states WHERE policy = ? ORDER BY version DESC LIMIT 1"
_VERSION = "SELECT version, state FROM states WHERE policy = ? AND version = ?"
_ADD = "INSERT INTO states (policy, version, state, run, at_s) VALUES (?, ?, ?, ?, ?)"
_GIVE = "INSERT INTO rewards (run, value, at_s) VALUES (?, ?, ?)"
_GIVEN = "SELECT value FROM rewards WHERE run = ?"


def learned_by(connection: sqlite3.Connection, texts: Texts, policy: str, version: int | None = None) -> Learned:
    """Return what `policy` had learned at `version`, by default the newest; nothing where it is unknown.

    Raises UnknownName for a version that was pruned with the run it was learned from.
    """
    number = texts.find(connection, policy)
    newest = row = connection.execute(_NEWEST, (number,)).fetchone()
    if version is not None:
        row = connection.execute(_VERSION, (number, version)).fetchone()
        if row is None and newest is not None and 0 < version < newest[0]:
            raise UnknownName(f"version {version} of what {policy} had learned is gone: it was pruned")
    return Learned(0, {}) if row is None else Learned(row[0], loads(row[1]))


def add(connection: sqlite3.Connection, texts: Texts, policy: str, version: int, state: Any, run: int) -> None:
    """Store what `policy` has learned from `run` as `version`. Raises UserError if that is no plain JSON object."""
    try:
        written = dumps(state, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{policy}: after_run returned what JSON cannot hold ({error}): give plain data") from error
    if not isinstance(state, Mapping):
        raise UserError(f"{policy}: after_run returned {state!r:.60}, not the new state: give a dict of plain data")
    values: list[Any] = [policy]
    texts.store(connection, values, (0,))
    connection.execute(_ADD, (values[0], version, written, run, time()))


def give(connection: sqlite3.Connection, run: int, value: float) -> None:
    """Store what a run was worth. A run that has a reward cannot be given another: see `reward_of`."""
    connection.execute(_GIVE, (run, float(value), time()))


def reward_of(connection: sqlite3.Connection, run: int) -> float | None:
    """Return what a run was worth, or None if nobody has said yet."""
    row = connection.execute(_GIVEN, (run,)).fetchone()
    return None if row is None else row[0]
