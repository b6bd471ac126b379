"""What turns texts into vectors inside this process: a model of sentences in a GGUF file, run by llama.cpp."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.engines import minilm
from orchestrator.engines.embedder import Embedder
from orchestrator.engines.hosted import Hosted
from orchestrator.engines.http import Transport
from orchestrator.engines.start_once import StartOnce
from orchestrator.errors import BadConfig

__all__ = ["FileEmbedder"]

_CONTEXT = 512
"""Tokens of a text that are read, if the model was made for as many."""
_PARALLEL = 4
_MARKS = 2
"""Tokens around a text; no other has more of them than bytes."""


class _Started(NamedTuple):
    """The model while it is loaded."""

    hosted: Hosted
    line: Transport
    served: Embedder
    context: int
    """Tokens of a text that it reads."""


class FileEmbedder:
    """The model at `path`, or the one that is called `minilm`, loaded when it is first asked.

    Of a text that is longer than what the model reads, the beginning is embedded. Every method may raise EngineError,
    and BadConfig for a file that cannot be had or served.
    """

    def __init__(self, path: str | Path, *, name: str = "embedding", timeout_s: float = 60.0) -> None:
        self.name = name
        self._path, self._timeout_s = str(path), timeout_s
        self._now: _Started | None = None
        self._once = StartOnce(self._start)

    async def space(self) -> str:
        """Return what names the space of the vectors."""
        return await (await self._once.get()).served.space()

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order; all of one length. An empty text has one, too."""
        now = await self._once.get()
        return await now.served.embed([await _cut(now, text) for text in texts])

    async def close(self) -> None:
        """Close the connections and unload the model; what is asked afterwards loads it again."""
        self._once.forget()
        now, self._now = self._now, None
        if now is not None:
            await now.served.close()
            await now.line.close()
            await asyncio.to_thread(now.hosted.unload)

    async def _start(self) -> _Started:
        is_small = self._path == minilm.NAME
        file = await asyncio.to_thread(minilm.made) if is_small else Path(self._path)
        if get_close_matches(file.name, [minilm.NAME]) and not file.exists():
            raise BadConfig(f"{self.name}: there is no file {self._path}: did you mean path = {minilm.NAME!r}?")
        # Threads of so small a model wait for each other more than they compute, beside anything else that runs.
        hosted = Hosted(self.name, file, partial(_prepare, file.name), _embed_one, threads=1 if is_small else None)
        address, key = await asyncio.to_thread(hosted.serve)
        line = Transport(self.name, address, api_key=key, timeout_s=self._timeout_s, keeps_connections=False)
        served = Embedder(address, name=self.name, model=file.name, api_key=key, timeout_s=self._timeout_s)
        props = await line.get("/props")
        with line.reading("/props"):
            context = int(props["default_generation_settings"]["n_ctx"])
        self._now = _Started(hosted, line, served, context)
        return self._now


def _prepare(alias: str, params: Any) -> None:
    params.embedding = True
    params.model_alias = {alias}
    params.n_ctx = params.n_batch = params.n_ubatch = _CONTEXT * _PARALLEL
    params.n_parallel = _PARALLEL


def _embed_one(server: Any) -> None:
    server.handle_embeddings({"input": "a"})


async def _cut(now: _Started, text: str) -> str | list[int]:
    """Return a text, or of one that may be too long the ids of its first tokens and the one that ends it."""
    if len(text.encode(errors="replace")) + _MARKS <= now.context:
        return text
    found = await now.line.post("/tokenize", {"content": text, "add_special": True})
    with now.line.reading("/tokenize"):
        ids = [int(id) for id in found["tokens"]]
    return ids if len(ids) <= now.context else [*ids[: now.context - 1], ids[-1]]
