"""Texts by content: equal texts are one row, and everything else refers to it by number.

Any string comes back exactly as it was. What is valid Unicode is stored as TEXT; a string with
lone surrogates, which broken model output can hold, is stored as a BLOB of its UTF-8 with the
surrogates passed through, because no database text may hold them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from orchestrator.memory.opening import damaged

__all__ = ["Texts", "decoded", "digest", "proven"]

_INSERT = "INSERT INTO texts (digest, text) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING"
_FIND = "SELECT id FROM texts WHERE digest = ?"
_READ = "SELECT digest, text FROM texts WHERE id = ?"

_MAX_REMEMBERED = 4096
_MAX_REMEMBERED_CHARS = 2048


def decoded(stored: str | bytes) -> str:
    """Return the string that the column `text` stands for."""
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogatepass")


def digest(data: bytes) -> bytes:
    """Return the name of a text, given its UTF-8 with surrogates passed through."""
    return blake2b(data, digest_size=16).digest()


def proven(number: int, name: bytes, stored: str | bytes) -> str:
    """Return the text of a row. Raises what SQLite does for a damaged file if it was stored otherwise."""
    if digest(stored.encode() if isinstance(stored, str) else stored) != name:
        raise damaged(f"text {number} is not what was stored")
    return decoded(stored)


class Texts:
    """The numbers of texts; names and short thoughts that come again are looked up in memory.

    Every method runs inside a transaction of the caller's.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def store(self, connection: sqlite3.Connection, values: list[Any], places: Sequence[int]) -> None:
        """Put numbers in the places of texts, storing texts that are new; None stays None."""
        numbers = self._numbers
        for place in places:
            text = values[place]
            if text is not None:
                values[place] = numbers.get(text) or self._number(connection, text)

    def _number(self, connection: sqlite3.Connection, text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        name = digest(data)
        try:
            cursor = connection.execute(_INSERT, (name, text))
        except UnicodeEncodeError:
            cursor = connection.execute(_INSERT, (name, data))
        was_new = cursor.rowcount == 1
        number: Any = cursor.lastrowid if was_new else connection.execute(_FIND, (name,)).fetchone()[0]
        if len(text) <= _MAX_REMEMBERED_CHARS:
            if len(self._numbers) >= _MAX_REMEMBERED:
                self._numbers.clear()
            self._numbers[text] = number
        return int(number)

    def find(self, connection: sqlite3.Connection, text: str) -> int | None:
        """Return the number of `text`, or None if it was never stored. Writes nothing."""
        row = connection.execute(_FIND, (digest(text.encode("utf-8", "surrogatepass")),)).fetchone()
        return None if row is None else row[0]

    def read(self, connection: sqlite3.Connection, number: int) -> str:
        """Return the text of a number that some row holds.

        Raises what SQLite does for a damaged file if it is gone, or is not what was stored.
        """
        found = connection.execute(_READ, (number,)).fetchone()
        if found is None:
            raise damaged(f"text {number} is missing")
        return proven(number, *found)

    def forget(self) -> None:
        """Drop what is remembered: the transaction that stored it was undone."""
        self._numbers.clear()
