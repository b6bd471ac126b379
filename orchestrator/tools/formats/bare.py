"""A JSON object as the whole turn, `{"name": ..., "parameters": {...}}`: how Llama 3.1 calls a tool.

Source: the chat template of Llama 3.1, with or without `<|python_tag|>` before it. Differs: `arguments` is read as
`parameters` is, and what is behind the object makes the call malformed. An object that begins with other keys, or
that has neither parameters nor arguments, is an answer, not a call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import BadCall
from orchestrator.tools.base import Tool
from orchestrator.tools.formats.base import Said
from orchestrator.tools.formats.hermes import Hermes, as_json, one_object, said_in

__all__ = ["Bare"]

_TAG = "<|python_tag|>"
_KEYS = ("parameters", "arguments")
_BEGINNING = re.compile(r'\{\s*"(?:name|parameters|arguments)"\s*:')


class Bare(Hermes):
    """Reads and writes a JSON object with nothing around it."""

    opener = ""
    closer = ""
    how = 'To call one, write {"name": "...", "parameters": {...}} and nothing else.'

    def is_call(self, turn: str) -> bool:
        """Return whether the turn begins like a call and, if it is an object, has what a call has."""
        turn = turn.strip()
        if turn.startswith(_TAG):
            return True
        if not _BEGINNING.match(turn):
            return False
        try:
            return any(key in one_object(turn) for key in _KEYS)
        except BadCall:
            return True  # it began like one

    def read(self, inside: str) -> Said:
        """Read the whole turn. Raises BadCall."""
        return said_in(one_object(inside.strip().removeprefix(_TAG)), _KEYS)

    def write(self, name: str, arguments: Mapping[str, Any], tool: Tool | None) -> str:
        """Write the object."""
        return as_json({"name": name, "parameters": dict(arguments)})
