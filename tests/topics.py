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
