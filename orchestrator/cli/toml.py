"""Tables as TOML, for whoever is to paste or to read them."""

from __future__ import annotations

from json import dumps
from typing import Any

__all__ = ["lines"]


def lines(tables: dict[str, Any], path: str = "") -> list[str]:
    """Return the lines of `tables`, which are found at `path`; every table has a head of its own."""
    plain = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    found = [f"{key} = {_literal(value)}" for key, value in plain.items()]
    if path and (found or not tables):
        found = ["", f"[{path}]", *found]
    for key, value in tables.items():
        if isinstance(value, dict):
            found += lines(value, f"{path}.{key}" if path else key)
    return found


def _literal(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_literal(each)}' for key, each in value.items())} }}"
    return dumps(value)
