"""What a chat template puts between the assistant's words and its next ones, and how it is switched to think.

Templates differ in all of it, so they are asked: a conversation of marks is laid out, and what stands
between the marks is what belongs between two turns. A question of ours goes through the template like
any message. What a tool has answered is a stranger's text: it is tokenised as data and put where the
template had left its mark, so that no name of a special token in it becomes that token. Nor do the
tags of thinking, which are ordinary vocabulary for many models: a server that counts what is thought, and
whoever reads the prompt, would take them for the engine's own.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from orchestrator.engines.base import Opened, Role, ThinkSwitch
from orchestrator.engines.dialects import plain
from orchestrator.errors import EngineProtocol, EngineRejected
from orchestrator.think_tags import CLOSES, OPENS
from orchestrator.types import Message

__all__ = ["Turns"]

_SAID, _GIVEN = "mark7f3a9c", "mark2b8d1e"
_MOST_ASIDES = 64
_INSIDE_TAGS = re.compile(r"(?<=<think)(?=>)|(?<=</think)(?=>)")

Fill = Callable[[Sequence[Message], bool | None], Awaitable[str]]
"""A conversation and a switch for thinking to the text of a prompt."""
Encode = Callable[[str], Awaitable[list[int]]]


class _Seam(NamedTuple):
    """Ids before and behind what a tool has answered."""

    before: list[int]
    behind: list[int]


class Turns:
    """The turns of one model's template, or, where it `has_template` no more, of the plain layout.

    `parse` reads special tokens out of a text, `encode` reads it as data.
    """

    def __init__(self, engine: str, fill: Fill, parse: Encode, encode: Encode) -> None:
        self.has_template = True
        self._engine = engine
        self._fill = fill
        self._parse = parse
        self._encode = encode
        self._tool_role = "tool"
        self._asides: dict[tuple[str, str, bool | None], list[int]] = {}
        self._seams: dict[tuple[str, bool | None], _Seam] = {}

    async def find_tool_role(self) -> str:
        """Try a message of a tool; return why the template has none, or nothing where it has.

        Where it has none, what a tool answers is the user's message.
        """
        try:
            await self._seam("", None)
        except (EngineRejected, EngineProtocol) as error:
            self._tool_role = "user"
            return f"what tools answer is given as the user's message: {error}"
        return ""

    async def find_switch(self, think_tags: tuple[Sequence[int], Sequence[int]]) -> ThinkSwitch:
        """Return by what the model is made to think or not; see Capabilities.think_switch."""
        asked = [Message("user", "?")]
        if self.has_template and await self._fill(asked, True) != await self._fill(asked, False):
            return "template"
        return "block" if all(len(tag) == 1 for tag in think_tags) else ""

    async def find_opened(self) -> Opened:
        """Return how a turn begins by the template; see Capabilities.think_opened."""
        if not self.has_template:
            return (None, None, None)
        asked = [Message("user", "?")]
        ends = [(await self._fill(asked, think)).rstrip() for think in (False, True, None)]
        first, second, third = (
            True if end.endswith(OPENS) else False if end.endswith(CLOSES) else None for end in ends
        )
        return (first, second, third)

    async def between(self, content: str, prefill: str, think: bool | None, role: Role) -> list[int]:
        """Return the ids between an assistant's open turn and its next one; see Engine.interject."""
        if role == "tool":
            seam = await self._seam(prefill, think)
            data = [id_ for part in _INSIDE_TAGS.split(content) for id_ in await self._encode(part)]
            return [*seam.before, *data, *seam.behind]
        key = (content, prefill, think)
        if key not in self._asides:
            if len(self._asides) >= _MOST_ASIDES:
                self._asides.clear()
            self._asides[key] = await self._parse(await self._text("user", content, prefill, think))
        return list(self._asides[key])

    async def _seam(self, prefill: str, think: bool | None) -> _Seam:
        if (prefill, think) not in self._seams:
            before, mark, behind = (await self._text(self._tool_role, _GIVEN, prefill, think)).partition(_GIVEN)
            if not mark:
                line = f"engine {self._engine!r}: the chat template drops the words of role {self._tool_role!r}"
                raise EngineProtocol(line, engine=self._engine)
            self._seams[prefill, think] = _Seam(await self._parse(before), await self._parse(behind))
        return self._seams[prefill, think]

    async def _text(self, role: str, content: str, prefill: str, think: bool | None) -> str:
        if not self.has_template:
            return plain.interject(role, content, prefill)
        turns = [Message("user", "-"), Message("assistant", _SAID), Message(role, content)]
        _, mark, behind = (await self._fill(turns, think)).partition(_SAID)
        if not mark:
            line = f"engine {self._engine!r}: the chat template drops the assistant's words"
            raise EngineProtocol(line, engine=self._engine)
        return behind + prefill
