"""How engines write calls of tools: one format, one file.

An engine that continues text makes one call a turn: its server stops where a call ends, so what it would write behind
it is never written, and it can make the next call once it has read the answer to this one. Several calls in one turn
come from chat APIs, which give whole turns, in `hermes`; they are made in order and each has its own answer. In `json`
a call is a whole turn of one object: another one behind it makes it malformed, which the engine is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from orchestrator.errors import UnknownName
from orchestrator.tools.formats.bare import Bare
from orchestrator.tools.formats.base import Format
from orchestrator.tools.formats.hermes import Hermes
from orchestrator.tools.formats.plain import Plain

__all__ = ["FORMATS", "Format", "find"]

FORMATS: Mapping[str, Format] = MappingProxyType({"plain": Plain(), "hermes": Hermes(), "json": Bare()})


def find(name: str) -> Format:
    """Return the format called `name`. Raises UnknownName, listing all names."""
    if name not in FORMATS:
        raise UnknownName(f"no format of tool calls named {name!r}; known: {', '.join(FORMATS)}")
    return FORMATS[name]
