"""The tools of a pipeline: told to engines, and found again in what they write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator import tools as room
from orchestrator.errors import UserError
from orchestrator.tools import calls
from orchestrator.tools.base import Called, Tool
from orchestrator.tools.formats import find

__all__ = ["LISTING", "Toolset"]

LISTING = "You may call these tools:\n{listing}\n{how}"
"""The default text about tools."""


class Toolset:
    """Tools with one name each, and the formats in which engines call them.

    `template` is the text about them for engines that no chat template tells: `{names}` stands for the names,
    `{listing}` for one line per tool with its parameters and what it does, `{how}` for how a call is written.
    """

    def __init__(
        self, tools: Iterable[Tool | str], formats: str | Iterable[str] = "plain", *, template: str = LISTING
    ) -> None:
        """Put tools together; a text is the name of a registered tool.

        Raises UserError where a name is there twice, UnknownName where a tool or a format does not exist.
        """
        found = tuple(room.make(tool) if isinstance(tool, str) else tool for tool in tools)
        names = [tool.name for tool in found]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"two tools are called {name!r}: give one of them another name")
        formats = (formats,) if isinstance(formats, str) else tuple(formats)
        if not formats:
            raise UserError("formats = () must name at least one way to write a call, such as 'plain'")
        for format in formats:
            find(format)
        self.tools = found
        self.formats = formats
        self.template = template

    def __iter__(self) -> Iterator[Tool]:
        return iter(self.tools)

    def __len__(self) -> int:
        return len(self.tools)

    def __getitem__(self, name: str) -> Tool:
        """Return the tool of that name. Raises KeyError."""
        return {tool.name: tool for tool in self.tools}[name]

    @property
    def closers(self) -> tuple[str, ...]:
        """The texts that end a call."""
        return calls.closers(self.formats)

    def calls_in(self, text: str) -> list[Called]:
        """Return the calls in a text, in order (see calls.py)."""
        return calls.calls_in(text, self.tools, self.formats)

    def has_call(self, text: str) -> bool:
        """Return whether a text holds a call, well formed or not."""
        return calls.has_call(text, self.formats)

    def is_open(self, text: str) -> bool:
        """Return whether a text ends inside a call."""
        return calls.is_open(text, self.formats)

    def describe(self) -> str:
        """Return the text about the tools; empty where there are none."""
        if not self.tools:
            return ""
        said = {
            "{names}": ", ".join(tool.name for tool in self.tools),
            "{listing}": "\n".join(_line(tool) for tool in self.tools),
            "{how}": find(self.formats[0]).how,
        }
        text = self.template
        for place, words in said.items():
            text = text.replace(place, words)
        return text

    def schemas(self) -> list[dict[str, Any]]:
        """Return what a chat template takes as `tools`, as the OpenAI interface has it."""
        return [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in self.tools
        ]


def _line(tool: Tool) -> str:
    required = tool.parameters.get("required", ())
    parameters = [
        f"{name}: {_kind(about)}" + ("" if name in required else " (optional)")
        for name, about in tool.parameters.get("properties", {}).items()
    ]
    return f"- {tool.name}({', '.join(parameters)})" + (f": {tool.description}" if tool.description else "")


def _kind(about: Mapping[str, Any]) -> str:
    if "enum" in about:
        return " or ".join(repr(value) for value in about["enum"])
    kinds = [option.get("type") for option in about.get("anyOf", [about])]
    return " or ".join(kind if isinstance(kind, str) else "any" for kind in kinds)
