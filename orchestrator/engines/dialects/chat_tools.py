"""Tool calls of chat APIs as text of the turn, and back.

In the house a call is text that an engine wrote, `<tool_call>{"name": ..., "arguments": ...}</tool_call>`;
a chat API keeps calls apart and gives each an id that the tool's message has to name. So what arrives
is written out, and what is sent is taken apart again, with ids that count the calls of the conversation.

Arguments that are no JSON are kept letter by letter as a JSON string: whoever reads the call can say what
is wrong with it, and it goes back to the API as it came. Calls that cannot be sent apart, because one
cannot be read or they do not each have their answer behind them, stay text; what the tools said is then
the user's message, as an API takes a tool's only for a call that it knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from orchestrator.types import Message

__all__ = ["ToolCalls", "sent"]

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_TAG = re.compile(r"<(?=[/|\w])")


class ToolCalls:
    """The calls of one turn, put together from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}

    def add(self, pieces: Sequence[Mapping[str, Any]]) -> None:
        """Take in what one event brings: each piece is of the call at its `index`, or begins one if it has a name."""
        for piece in pieces:
            function = piece.get("function") or {}
            name, arguments = function.get("name") or "", function.get("arguments") or ""
            index = piece.get("index")
            if index is None:
                index = max(self._calls, default=-1) + bool(name or not self._calls)
            call = self._calls.setdefault(int(index), {"name": "", "arguments": ""})
            call["name"] = call["name"] or str(name)
            call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    @property
    def text(self) -> str:
        """The calls as text, a line each, in the order of their indices."""
        return "\n".join(_written(**call) for _, call in sorted(self._calls.items()))


def _written(name: str, arguments: str) -> str:
    given = arguments if _is_json(arguments) else json.dumps(arguments) if arguments.strip() else "{}"
    call = f'{{"name": {json.dumps(name)}, "arguments": {given}}}'
    # A tag can only be inside a JSON string, where this is the same letter.
    call = _TAG.sub(r"\\u003c", call)
    return f"<tool_call>{call}</tool_call>"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def sent(messages: Sequence[Message], *, has_tools: bool) -> list[dict[str, Any]]:
    """Return a conversation as an API takes it: calls apart from the text, answers with the ids of their calls.

    A conversation in which there are no tools, nor answers of any, is sent as it is.
    """
    if not has_tools and not any(message.role == "tool" for message in messages):
        return [message._asdict() for message in messages]
    found: list[dict[str, Any]] = []
    num_calls, at = 0, 0
    while at < len(messages):
        message, at = messages[at], at + 1
        answers = list(takewhile(lambda each: each.role == "tool", messages[at:]))
        calls = _calls_in(message.content) if message.role == "assistant" else []
        if not calls or len(calls) != len(answers):
            found.append(message._asdict() | ({"role": "user"} if message.role == "tool" else {}))
            continue
        ids = [f"call{number:05d}" for number in range(num_calls, num_calls + len(calls))]  # some want nine characters
        pairs = zip(ids, calls, strict=True)
        apart = [{"id": id_, "type": "function", "function": call} for id_, call in pairs]
        found.append(
            {"role": "assistant", "content": _CALL.sub("", message.content).strip() or None, "tool_calls": apart}
        )
        found += [each._asdict() | {"tool_call_id": id_} for id_, each in zip(ids, answers, strict=True)]
        num_calls, at = num_calls + len(calls), at + len(answers)
    return found


def _calls_in(content: str) -> list[dict[str, str]]:
    """Return the calls in a turn as an API takes them; none if one of them cannot be read."""
    try:
        return [_apart(json.loads(each)) for each in _CALL.findall(content)]
    except (ValueError, RecursionError, KeyError, TypeError):
        return []


def _apart(call: dict[str, Any]) -> dict[str, str]:
    name, arguments = call["name"], call["arguments"]
    if not isinstance(name, str):
        raise TypeError(name)
    return {"name": name, "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)}
