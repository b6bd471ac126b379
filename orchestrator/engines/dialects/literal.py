"""Tokenise text as data on a server that reads special tokens out of any text.

A tokenizer behind /tokenize turns the seven characters of "[/INST]" or the ten of "<|im_end|>" into
the control token of that name, and has no switch against it. So text that holds such a name is cut
inside it, before its closing punctuation, and the parts are tokenised one by one. A letter run ends
there for every byte-pair tokenizer in use, so the ids are those of the name spelled out in full.

Which names are special is found out as they turn up: a token that looks like a tag is special if the
server leaves it out of a text without special tokens. Tags that are ordinary vocabulary, as
"</think>" is for many reasoning models, stay what they are. A special token whose name is not wrapped
in ASCII punctuation would go unnoticed; no published tokenizer is known to have one.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import NamedTuple

from orchestrator.errors import EngineProtocol

__all__ = ["Literal", "Tokens"]

_TAG = re.compile(r"[!-/:-@\[-`{-~].*[^\W_].*[!-/:-@\[-`{-~]", re.DOTALL)


class Tokens(NamedTuple):
    """A tokenised text."""

    ids: list[int]
    names: list[str]
    """How the vocabulary writes each token; a special token's name is its text."""


class Literal:
    """Encodes text as data; remembers what it learned about the tokenizer."""

    def __init__(
        self,
        engine: str,
        tokenize: Callable[[str], Awaitable[Tokens]],
        is_special: Callable[[int], Awaitable[bool]],
    ) -> None:
        self._engine = engine
        self._tokenize = tokenize
        self._ask_special = is_special
        self._special: dict[int, bool] = {}
        self._names: set[str] = set()

    async def encode(self, text: str) -> list[int]:
        """Return ids that decode to `text`, none of them special.

        Raises EngineProtocol if the tokenizer makes a special token out of a text that lacks its name.
        """
        ids: list[int] = []
        parts = self._cut(text)
        while parts:
            part = parts.pop(0)
            tokens = await self._tokenize(part)
            found = await self._found(tokens)
            if not found:
                ids += tokens.ids
            elif (new := {name for name in found - self._names if name in part}) == found:
                self._names |= new
                parts = self._cut(part) + parts
            else:
                line = f"engine {self._engine!r}: its tokenizer makes {sorted(found)} out of a text of other characters"
                raise EngineProtocol(line, engine=self._engine)
        return ids

    def _cut(self, text: str) -> list[str]:
        """Return `text` in parts, cut inside every special name known so far; no part is empty."""
        if not self._names:
            return [text] if text else []
        longest_first = sorted(self._names, key=len, reverse=True)
        cuts = [
            found.start() + _last_letter(found.group())
            for found in re.finditer("|".join(map(re.escape, longest_first)), text)
        ]
        edges = [0, *cuts, len(text)]
        return [text[start:end] for start, end in pairwise(edges) if start < end]

    async def _found(self, tokens: Tokens) -> set[str]:
        tags = {id_: name for id_, name in zip(*tokens, strict=True) if _TAG.fullmatch(name)}
        return {name for id_, name in tags.items() if await self._is_special(id_)}

    async def _is_special(self, id_: int) -> bool:
        if id_ not in self._special:
            self._special[id_] = await self._ask_special(id_)
        return self._special[id_]


def _last_letter(name: str) -> int:
    """Return the place behind the last letter or digit of `name`."""
    return max(place for place, letter in enumerate(name) if letter.isalnum()) + 1
