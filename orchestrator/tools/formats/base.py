"""What a format is: how a call of a tool is told from other text, read, and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from orchestrator.tools.base import Tool

__all__ = ["Format", "Said"]


class Said(NamedTuple):
    """A call as it was said, before anybody asked whether there is such a tool."""

    name: str
    arguments: Any
    """As the format has them: raw text, or what stood in the JSON."""


class Format(Protocol):
    """Reads and writes the calls of one format."""

    opener: str
    """What a call begins with; empty where a call is a whole turn and `is_call` knows it."""
    closer: str
    """What a call ends with; empty as above."""
    how: str
    """How to write a call, for an engine that has to be told."""

    def is_call(self, turn: str) -> bool:
        """Return whether the whole turn means to be a call; False for a format with an opener."""
        ...

    def read(self, inside: str) -> Said:
        """Return what is said between opener and closer, or in the whole turn. Raises BadCall if it is no call."""
        ...

    def arguments(self, said: Said, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments by name, for a tool with this JSON schema; not yet checked against it.

        Raises BadCall.
        """
        ...

    def write(self, name: str, arguments: Mapping[str, Any], tool: Tool | None) -> str:
        """Return the text that is read as this call; `tool` lets a format leave out names."""
        ...
