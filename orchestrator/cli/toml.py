"""Tables as TOML, for whoever is to paste or to read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from json import dumps
from typing import Any

__all__ = ["lines"]

BARE = re.compile(r"[A-Za-z0-9_-]+")


def lines(tables: dict[str, Any], path: Sequence[str] = ()) -> list[str]:
    """Return the lines of `tables`, which are found at `path`; every table has a head of its own."""
    found = _plain(tables)
    if path and (found or not tables):
        found = ["", f"[{_place(path)}]", *found]
    return found + _within(tables, path)


def _plain(tables: dict[str, Any]) -> list[str]:
    return [
        f"{_key(key)} = {_literal(value)}"
        for key, value in tables.items()
        if not isinstance(value, dict) and not _is_tables(value)
    ]


def _within(tables: dict[str, Any], path: Sequence[str]) -> list[str]:
    """Return the lines of the tables inside."""
    found = []
    for key, value in tables.items():
        place = (*path, key)
        if isinstance(value, dict):
            found += lines(value, place)
        elif _is_tables(value):
            for each in value:
                found += ["", f"[[{_place(place)}]]", *_plain(each), *_within(each, place)]
    return found


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(each, dict) for each in value)


def _place(path: Sequence[str]) -> str:
    return ".".join(map(_key, path))


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _quoted(key)


def _literal(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {_literal(each)}' for key, each in value.items())} }}"
    if isinstance(value, str):
        return _quoted(value)
    return repr(value) if isinstance(value, float) else dumps(value)


def _quoted(text: str) -> str:
    """Return a basic string. JSON has the same escapes, but leaves DEL as it is."""
    return dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
