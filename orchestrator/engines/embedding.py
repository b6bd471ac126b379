"""What turns texts into vectors, as it is described: a server, or a file that is served inside this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.engines.spec import check_bare
from orchestrator.errors import BadConfig

__all__ = ["Embedding", "EmbeddingSpec"]


class Embedding(Protocol):
    """What embeds. Every method may raise EngineError, and BadConfig for what cannot be had as it is described."""

    async def space(self) -> str:
        """Return what names the space of the vectors: those of two models never meet."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order; all of one length. An empty text has one, too."""

    async def close(self) -> None:
        """Let go of connections and weights; what is asked afterwards has them made anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpec:
    """One model of sentences: where it is. Raises BadConfig unless it is at one place."""

    url: str | None = None
    """Base address of a server that speaks OpenAI's /v1/embeddings, as vLLM's and llama.cpp's do."""
    path: str | None = None
    """GGUF file of a model of sentences, or `minilm`; see engines/minilm.py."""
    model: str | None = None
    """Name of the served model; None for the only one there is."""
    api_key: str | None = field(default=None, repr=False)
    """Never stored, shown or logged."""
    timeout_s: float = 60.0
    """Longest wait for the vectors of one request."""

    def __post_init__(self) -> None:
        if (self.url is None) == (self.path is None):
            found = "neither" if self.url is None else "both"
            raise BadConfig(f'an embedding needs a url or a path, and has {found}: path = "minilm" is a small model')
        if self.url is not None:
            check_bare(self.url, "the url")
        for name in ("model", "api_key"):
            if self.path is not None and getattr(self, name) is not None:
                raise BadConfig(f"{name} is for a server: leave it out beside a path")
        if not self.timeout_s > 0:
            raise BadConfig(f"timeout_s = {self.timeout_s!r} must be above 0")

    def made(self) -> Embedding:
        """Return what embeds; it connects to nothing, and loads nothing, until it is asked. Raises BadConfig."""
        if self.path is not None:
            from orchestrator.engines.file_embedder import FileEmbedder

            return FileEmbedder(self.path, timeout_s=self.timeout_s)
        from orchestrator.engines.embedder import Embedder

        assert self.url is not None
        return Embedder(self.url, model=self.model, api_key=self.api_key, timeout_s=self.timeout_s)
