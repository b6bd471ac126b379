"""What turns texts into vectors: any server that speaks OpenAI's /v1/embeddings, as vLLM and llama.cpp do.

It is no engine of a pipeline: it neither writes nor judges. What it embeds into is named by the model and by how it
embeds one fixed text, so that vectors of two models, or of two versions of one, never meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import isfinite
from typing import Any

from orchestrator.engines.http import Transport
from orchestrator.engines.start_once import StartOnce
from orchestrator.errors import BadConfig

__all__ = ["MAX_TEXTS", "Embedder"]

MAX_TEXTS = 64
"""Texts of one request."""
_PATH, _MODELS = "/v1/embeddings", "/v1/models"
_PROBE = "The quick brown fox jumps over the lazy dog."
_GREATEST = 8
"""Numbers of the probe's vector that tell a model from another."""


class Embedder:
    """One model of the server at `url`, with or without the closing /v1; `model` may be None if it serves one.

    Every method may raise EngineError, and BadConfig where the server has several models and none is named.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "embedding",
        model: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.name = name
        self._model = model
        root = url.strip().rstrip("/").removesuffix("/v1")
        self._line = Transport(name, root, api_key=api_key, timeout_s=timeout_s, keeps_connections=False)
        self._found = StartOnce(self._find)

    async def space(self) -> str:
        """Return what names the space of the vectors."""
        return (await self._found.get())[1]

    async def embed(self, texts: Sequence[str | Sequence[int]]) -> list[list[float]]:
        """Return one vector for each text, or for the ids of its tokens, in order; all of one length.

        An empty text has one, too.
        """
        model, _ = await self._found.get()
        vectors: list[list[float]] = []
        for start in range(0, len(texts), MAX_TEXTS):
            vectors += await self._embed(model, texts[start : start + MAX_TEXTS])
        return vectors

    async def close(self) -> None:
        """Close the connections."""
        await self._line.close()

    async def _find(self) -> tuple[str, str]:
        model = self._model or await self._only()
        (probe,) = await self._embed(model, [_PROBE])
        return model, f"{model} {_fingerprint(probe)}"

    async def _only(self) -> str:
        reply = await self._line.get(_MODELS)
        with self._line.reading(_MODELS):
            names = [str(each["id"]) for each in reply["data"]]
        if len(names) != 1:
            raise BadConfig(f"engine {self.name!r}: the server has {', '.join(names) or 'no models'}: name one")
        return names[0]

    async def _embed(self, model: str, texts: Sequence[str | Sequence[int]]) -> list[list[float]]:
        body = {"model": model, "input": [text or " " for text in texts]}
        reply = await self._line.post(_PATH, body, timeout_s=self._line.timeout_s)
        with self._line.reading(_PATH):
            vectors = [_vector(each["embedding"]) for each in sorted(reply["data"], key=lambda each: each["index"])]
        if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) > 1:
            raise self._line.misunderstood(
                _PATH, f"{len(vectors)} vectors of {len(texts)} texts, or of several lengths"
            )
        return vectors


def _fingerprint(vector: Sequence[float]) -> str:
    """Return what tells one model's vector of a text from another's: its greatest numbers, in order, with their signs.

    Servers do not repeat themselves to the last bit, and that order outlives more than bits.
    """
    greatest = sorted(range(len(vector)), key=lambda place: (-abs(vector[place]), place))[:_GREATEST]
    said = ",".join(f"{place}{'-' if vector[place] < 0 else '+'}" for place in greatest)
    return blake2b(f"{len(vector)}:{said}".encode(), digest_size=6).hexdigest()


def _vector(given: Any) -> list[float]:
    numbers = [float(number) for number in given]
    if not any(numbers) or not all(map(isfinite, numbers)):
        raise ValueError("a vector is empty or of zeros, or holds what is no number")
    return numbers
