"""How a behavior lies in its table, whatever the handbook and whoever changes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from json import dumps
from typing import Any

from orchestrator.behaviors import Behavior
from orchestrator.errors import UserError
from orchestrator.memory.opening import damaged

__all__ = ["by_id", "drop", "put", "selected", "whole"]

_FIELDS = tuple(each.name for each in fields(Behavior))
_COLUMNS = ", ".join(_FIELDS)
_SELECT = f"SELECT {_COLUMNS} FROM behaviors WHERE handbook = ?"
_PUT = (
    f"INSERT INTO behaviors (handbook, {_COLUMNS}) VALUES (?{', ?' * len(_FIELDS)}) ON CONFLICT (handbook, id) "
    f"DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _FIELDS if name != 'id')}"
)
_DROP = "DELETE FROM behaviors WHERE handbook = ? AND id = ?"


def selected(connection: sqlite3.Connection, key: int, where: str, *values: Any) -> list[Behavior]:
    """Return the behaviors of a handbook that fit `where`, a condition with the values that it asks for."""
    return [_read(row) for row in connection.execute(f"{_SELECT} AND {where}", (key, *values))]


def by_id(connection: sqlite3.Connection, key: int, ids: Sequence[int]) -> dict[int, Behavior]:
    """Return those of some behaviors that there are, by id."""
    return {
        each.id: each for each in selected(connection, key, "id IN (SELECT value FROM json_each(?))", dumps([*ids]))
    }


def put(connection: sqlite3.Connection, key: int, rows: Iterable[Behavior]) -> None:
    """Write behaviors, over what has their ids."""
    connection.executemany(_PUT, [(key, *(getattr(row, name) for name in _FIELDS)) for row in rows])


def drop(connection: sqlite3.Connection, key: int, rows: Iterable[Behavior]) -> None:
    """Take behaviors out of the table."""
    connection.executemany(_DROP, [(key, row.id) for row in rows])


@contextmanager
def whole(what: str) -> Iterator[None]:
    """Say of a row that holds what nobody wrote what SQLite says of a page: the file is damaged."""
    try:
        yield
    except (UserError, TypeError, ValueError) as error:
        raise damaged(f"{what} cannot be read: {error}") from error


def _read(row: Sequence[Any]) -> Behavior:
    said = dict(zip(_FIELDS, row, strict=True))
    with whole("a behavior"):
        return Behavior(**{**said, "is_active": bool(said["is_active"])})
