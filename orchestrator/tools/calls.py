"""Find the calls of tools in what an engine wrote, and read them strictly.

Only what stands behind the last `</think>` counts. There, nothing counts that is behind an open `<think>` or in a
code fence (lines of three or more backticks or tildes): a call that is thought about or quoted is not made. A call
that is never closed is malformed. Whatever the text, the outcome is a list of calls, each of which can be made or
says what is wrong with it; nothing here raises on account of what an engine wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from orchestrator.errors import BadCall
from orchestrator.think_tags import OPENS, said
from orchestrator.tools.base import ERROR, Called, Tool
from orchestrator.tools.formats import Format, find
from orchestrator.tools.formats.hermes import Hermes, as_json
from orchestrator.tools.observing import blame, cap_of, observe
from orchestrator.visible import visible

__all__ = ["MAX_CALLS", "MAX_CHARS", "calls_in", "closers", "has_call", "is_open", "native", "written"]

MAX_CALLS = 32
"""Calls of one turn that are read; the next one is refused, and what is behind it is not looked at."""
MAX_CHARS = 65_536
"""Length of a call that is read."""

_FENCE = r"^ {0,3}(?P<fence>`{3,}|~{3,})"


class _Found(NamedTuple):
    format: Format
    inside: str
    is_closed: bool


def calls_in(text: str, tools: Iterable[Tool], formats: str | Sequence[str]) -> list[Called]:
    """Return the calls in `text`, in order; empty where it holds none. Raises UnknownName for a format only."""
    known = {tool.name: tool for tool in tools}
    found = list(islice(_found(text, _all(formats)), MAX_CALLS + 1))
    called = [_called(each, known) for each in found[:MAX_CALLS]]
    if len(found) > MAX_CALLS:
        called.append(Called("", {}, f"more than {MAX_CALLS} calls in one turn: the rest was not made"))
    return called


def has_call(text: str, formats: str | Sequence[str]) -> bool:
    """Return whether `text` holds a call, well formed or not."""
    return any(True for _ in _found(text, _all(formats)))


def is_open(text: str, formats: str | Sequence[str]) -> bool:
    """Return whether `text` ends inside a call, so that writing has to go on."""
    return any(not each.is_closed for each in _found(text, _all(formats)))


def closers(formats: str | Sequence[str]) -> tuple[str, ...]:
    """Return the texts that end a call, so that writing can stop there; none for a format of whole turns."""
    return tuple(each.closer for each in _all(formats) if each.closer)


def written(name: str, arguments: Mapping[str, Any], format: str, tool: Tool | None = None) -> str:
    """Return the text that `calls_in` reads as this call; `tool` spares a plain call the names of its arguments.

    Raises UnknownName for the format.
    """
    return find(format).write(name, arguments, tool)


def native(name: str, arguments: str) -> str:
    """Return the hermes text of a call that a chat API gave beside the text, its arguments as JSON that nobody read.

    What is wrong with them is found when the text is read.
    """
    return Hermes.opener + as_json({"name": name, "arguments": arguments}) + Hermes.closer


def _all(formats: str | Sequence[str]) -> list[Format]:
    return [find(name) for name in ([formats] if isinstance(formats, str) else formats)]


def _found(text: str, formats: Sequence[Format]) -> Iterator[_Found]:
    text = said(text)
    whole = next((each for each in formats if each.is_call(text)), None)
    if whole is not None:
        yield _Found(whole, text, True)
        return
    openers = {each.opener: each for each in formats if each.opener}
    mark = re.compile("|".join([_FENCE, re.escape(OPENS), *map(re.escape, openers)]), re.MULTILINE)
    at: int | None = 0
    while at is not None and (begun := mark.search(text, at)):
        if begun[0] in openers:
            format = openers[begun[0]]
            end = text.find(format.closer, begun.end())
            yield _Found(format, text[begun.end() : end if end >= 0 else len(text)], end >= 0)
            at = end + len(format.closer) if end >= 0 else None
        elif begun[0] == OPENS:
            at = None
        else:
            at = _behind_fence(text, begun)


def _behind_fence(text: str, begun: re.Match[str]) -> int | None:
    """Return where a code fence ends; None if it stays open."""
    fence = begun["fence"]
    closed = re.compile(rf"^ {{0,3}}{fence[0]}{{{len(fence)},}}[ \t]*$", re.MULTILINE).search(text, begun.end())
    return closed.end() if closed else None


def _called(found: _Found, tools: Mapping[str, Tool]) -> Called:
    name = ""
    try:
        if len(found.inside) > MAX_CHARS:
            raise BadCall(f"the call is longer than {MAX_CHARS} characters")
        if not found.is_closed:
            raise BadCall(f"the call is not closed: {found.format.closer} is missing")
        said = found.format.read(found.inside)
        name = visible(said.name[:64])
        if said.name not in tools:
            raise BadCall(f"there is no tool {name!r}; there are: {', '.join(sorted(tools)) or 'none'}")
        tool = tools[said.name]
        return Called(name, _checked(tool, found.format.arguments(said, tool.parameters)))
    except BadCall as error:
        wrong = observe(ERROR + (str(error).strip() or "the call is wrong"), cap_of(tools.get(name))).text
        return Called(name, {}, " ".join(wrong.split()).removeprefix(ERROR))


def _checked(tool: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments as the tool takes them. Raises BadCall for whatever the tool raises."""
    try:
        return dict(tool.check(arguments))
    except BadCall:
        raise
    except Exception as error:
        raise BadCall(blame(error).removeprefix(ERROR)) from error
