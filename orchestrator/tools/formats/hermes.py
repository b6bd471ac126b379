"""`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: the text of Hermes, Qwen and their kin.

Source: the chat templates of Hermes 2 Pro and Qwen 2.5. Differs from servers that read it: a call is refused, with
words for the engine, where the JSON has a name twice, NaN, other keys, or text around it. Arguments may come as a
JSON object inside a string, as the OpenAI interface has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from orchestrator.document import strict_json
from orchestrator.errors import BadCall
from orchestrator.tools.base import Tool
from orchestrator.tools.formats.base import Said

__all__ = ["Hermes", "as_json", "one_object", "said_in"]


class Hermes:
    """Reads and writes JSON between tags."""

    opener = "<tool_call>"
    closer = "</tool_call>"
    how = 'To call one, write <tool_call>{"name": "...", "arguments": {...}}</tool_call> and stop there.'

    def is_call(self, turn: str) -> bool:
        """Return False: the tags say where a call is."""
        return False

    def read(self, inside: str) -> Said:
        """Read one JSON object with a name and arguments. Raises BadCall."""
        return said_in(one_object(inside), ("arguments",))

    def arguments(self, said: Said, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the object of arguments. Raises BadCall if it is none."""
        given = one_object(said.arguments) if isinstance(said.arguments, str) else said.arguments
        if not isinstance(given, dict):
            raise BadCall(f"{said.name}: the arguments must be a JSON object with the names of the parameters")
        return given

    def write(self, name: str, arguments: Mapping[str, Any], tool: Tool | None) -> str:
        """Write the call between its tags."""
        return f"{self.opener}{as_json({'name': name, 'arguments': dict(arguments)})}{self.closer}"


def one_object(text: str) -> dict[str, Any]:
    """Return the JSON object that is all of `text`, white space aside. Raises BadCall."""
    try:
        given = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise BadCall(f"the call is not JSON that can be read: {error}") from None
    if not isinstance(given, dict):
        raise BadCall("the call must be one JSON object")
    return given


def said_in(given: Mapping[str, Any], keys: tuple[str, ...]) -> Said:
    """Return the call in a JSON object: a name and the arguments under one of `keys`. Raises BadCall."""
    found = [key for key in keys if key in given]
    if not isinstance(given.get("name"), str) or len(found) != 1:
        raise BadCall(f'the call must have a "name" and "{keys[0]}"')
    strange = [key for key in given if key not in ("name", found[0])]
    if strange:
        raise BadCall(f'the call has {strange[0]!r:.60}; only "name" and "{found[0]}" belong there')
    return Said(given["name"], given[found[0]])


def as_json(call: Mapping[str, Any]) -> str:
    """Return a call as JSON in which no tag can be: `<` is spelled out where one could begin."""
    return re.sub(r"<(?=[/|\w])", r"\\u003c", json.dumps(call, ensure_ascii=False))
