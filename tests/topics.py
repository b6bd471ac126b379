"""An embedding that knows one topic: what is of it lies one way, everything else the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestrator.errors import EngineUnavailable


class Topic:
    """Embeds; a text is of the topic if it holds one of the `signs`. One that is not there fails."""

    def __init__(self, *signs: str, is_there: bool = True) -> None:
        self.signs, self.is_there, self.asked = signs, is_there, list[str]()

    async def space(self) -> str:
        if not self.is_there:
            raise EngineUnavailable("nothing answers", engine="embedding")
        return "topics"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += texts
        await asyncio.sleep(0)  # others may ask meanwhile
        return [[1.0, 0.1] if any(sign in text for sign in self.signs) else [0.0, 1.0] for text in texts]

    async def close(self) -> None: ...


class Given:
    """Somebody's own embedding: a text that holds the word has the vector that was given, which need not be one, or
    none at all; any other has (1, 0)."""

    def __init__(self, word: str, vector: list[float] | None) -> None:
        self.word, self.vector = word, vector

    async def space(self) -> str:
        return "given"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        found = [self.vector if self.word in text else [1.0, 0.0] for text in texts]
        return [each for each in found if each is not None]

    async def close(self) -> None: ...


NO_DIRECTIONS: list[tuple[list[float] | None, str]] = [
    ([0.0, 0.0], "zeros"),
    ([float("nan"), 1.0], "no numbers"),
    ([1.0, 0.0, 0.0], "numbers"),
    (None, "it gave"),
]
"""What somebody's own embedding may give, and what is said of it."""
