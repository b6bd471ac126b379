"""A stored run as the messages of a chat, the way trainers read one.

    messages   [{role, content}, ...]; an assistant's may have tool_calls, a tool's has name and tool_call_id
    tools      schemas of the tools that the run could call, where it has such calls

The task's messages stand as they were given: neither behaviors nor what engines were told of tools is among them, a
trainer's chat template tells of `tools` by itself. What engines wrote up to a call, or to the end, is one message of
the assistant; calls are taken out of its text, what they answered is a message each.

Source: the conversational formats of TRL (dataset formats, tool calling), which axolotl's `chat_template` and
LLaMA-Factory's `openai` formatting read as well. Arguments of calls are objects, as there.
Differs: a thought that the prompt had opened gets its `<think>` back, since a trainer's prompt will not have it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from json import loads
from typing import Any, Literal, NamedTuple

from orchestrator.exports.lines import LeftOut, Record
from orchestrator.memory.base import StepRow, StoredRun
from orchestrator.runtime.resume import answers_of
from orchestrator.think_tags import CLOSES, OPENS, leaves_open, said
from orchestrator.tools.base import Called
from orchestrator.tools.calls import calls_in, has_call
from orchestrator.tools.formats import find
from orchestrator.types import StepKind, Task

__all__ = ["Call", "Chat", "Message", "Open", "chat_of", "open_turn", "opening"]


class Function(Record):
    """What is called."""

    name: str
    arguments: dict[str, Any]


class Call(Record):
    """One call of a tool."""

    id: str
    type: Literal["function"]
    function: Function


class Message(Record):
    """One message of a chat."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class Chat(NamedTuple):
    """A conversation as plain data."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    """Empty where nothing was called."""


class Open(NamedTuple):
    """A conversation in the middle of a turn."""

    prompt: Chat
    """Up to where the assistant's turn begins."""
    said: str
    """What the assistant has written of it."""


class _Told(NamedTuple):
    """A tool as the journal knows it: enough to read its calls, not to make them."""

    name: str
    parameters: Mapping[str, Any]

    def check(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return arguments


def chat_of(stored: StoredRun, task: Task) -> Chat:
    """Return the whole conversation. Raises LeftOut where it cannot be told, or does not end with the assistant."""
    prompt, rest = open_turn(stored, task, stored.kept())
    if not rest.strip():
        raise LeftOut("nothing was written behind the last answer of a tool")
    return Chat([*prompt.messages, _assistant(rest)], prompt.tools)


def open_turn(stored: StoredRun, task: Task, steps: Sequence[StepRow]) -> Open:
    """Return the conversation behind the first `steps` of a run. Raises LeftOut where it cannot be told."""
    messages: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in task.messages]
    numbers = count(1)
    answers = answers_of(stored)
    text, asked = "", list[dict[str, Any]]()
    tools = _Tools(stored) if any(step.kind == StepKind.ACTION for step in steps) else None
    for step in steps:
        if step.kind == StepKind.OBSERVATION:
            seen = _apart(step.text, answers.get((step.step, step.attempt)))
            if len(seen) != len(asked):
                raise LeftOut("what their calls were answered cannot be told apart")
            for call, each in zip(asked, seen, strict=True):
                name = call["function"]["name"]
                messages.append({"role": "tool", "tool_call_id": call["id"], "name": name, "content": each})
            continue
        text += step.text
        if step.kind == StepKind.ACTION and tools is not None:
            asked = [_call(called, next(numbers)) for called in tools.calls_in(text)]
            messages.append({**_assistant(tools.before(text)), "tool_calls": asked})
            text = ""
    return Open(Chat(messages, tools.schemas if tools else []), text)


def opening(turn: str) -> str:
    """Return the tag that a turn lacks at its beginning because the prompt had it; a turn that lacks one closes it."""
    closed, opened = turn.find(CLOSES), turn.find(OPENS)
    return f"{OPENS}\n" if closed >= 0 and not 0 <= opened < closed else ""


def _assistant(text: str) -> dict[str, Any]:
    if leaves_open(text):
        raise LeftOut("a thought in them is not closed")
    return {"role": "assistant", "content": opening(text) + text}


def _call(called: Called, number: int) -> dict[str, Any]:
    if called.error:
        raise LeftOut("a call in them is broken")
    function = {"name": called.name, "arguments": dict(called.arguments)}
    return {"id": f"call{number:05}", "type": "function", "function": function}  # some templates want nine characters


def _apart(text: str, lengths: Sequence[int] | None) -> list[str]:
    """Return what each call of one turn was answered: joined by line breaks, `lengths` tell them apart."""
    found, start = list[str](), 0
    for length in lengths or (len(text),):
        found.append(text[start : start + length])
        start += length + 1
    return found


class _Tools:
    """The tools of a stored run, by its settings. Raises LeftOut if they were made for its task alone."""

    def __init__(self, stored: StoredRun) -> None:
        settings = loads(stored.run.settings).get("tools") or {}
        listed, prompt = settings.get("tools"), settings.get("prompt") or {}
        if not isinstance(listed, Mapping):
            raise LeftOut("their tools were made for the task alone, and what they take is not in the journal")
        self._formats = [prompt.get("format", "plain")]
        self._told: Any = [_Told(name, about.get("parameters", {})) for name, about in listed.items()]
        self.schemas = [
            {
                "type": "function",
                "function": {
                    "name": name,
                    "description": listed[name].get("description", ""),
                    "parameters": listed[name].get("parameters", {}),
                },
            }
            for name in settings.get("order", listed)
        ]

    def calls_in(self, text: str) -> list[Called]:
        return calls_in(text, self._told, self._formats)

    def before(self, text: str) -> str:
        """Return what stands before the calls. Raises LeftOut where words stand between or behind them."""
        formats = [find(name) for name in self._formats]
        if any(each.is_call(said(text)) for each in formats):
            return text.removesuffix(said(text)).rstrip()
        begins = min((self._first(text, each.opener) for each in formats if each.opener), default=len(text))
        between = text[begins:]
        for each in formats:
            between = re.sub(f"{re.escape(each.opener)}.*?{re.escape(each.closer)}", "", between, flags=re.DOTALL)
        if between.strip():
            raise LeftOut("words stand between their calls, or behind them")
        return text[:begins].rstrip()

    def _first(self, text: str, opener: str) -> int:
        """Return where the first call begins that is one: not thought about, not quoted."""
        places = (found.start() for found in re.finditer(re.escape(opener), text))
        return next((place for place in places if has_call(text[: place + len(opener)], self._formats)), len(text))
