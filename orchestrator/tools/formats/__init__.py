"""How engines write calls of tools: one format, one file."""

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
