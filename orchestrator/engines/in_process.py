"""An engine that is a GGUF file, served by llama.cpp inside this process."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from orchestrator.engines.base import Capabilities
from orchestrator.engines.dialects.llamacpp import LlamaCpp
from orchestrator.engines.hosted import Hosted
from orchestrator.engines.http import Transport
from orchestrator.engines.pocket import BUNDLED, PAIR_ID, bundled
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import BadConfig

__all__ = ["Embedded"]

_CONTEXT = 4096
_PARALLEL = 4
_PUT_ASIDE_MIB = 256
"""Of main memory, for prompts that another run took the place of; llama.cpp's own limit is 8 GiB for each engine."""


class Embedded(LlamaCpp):
    """A model file at `path`, or one that ships with the package by its name, loaded when the engine starts.

    `context` is tokens per call (at most what the model was trained for), `parallel` calls are served
    side by side, more wait. `threads` None takes all cores.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str = "embedded",
        context: int | None = None,
        parallel: int | None = None,
        threads: int | None = None,
        timeout_s: float = 600.0,
    ) -> None:
        super().__init__("", name=name, timeout_s=timeout_s)
        file = Path(bundled(str(path)))
        self._alias = f"{path} of {PAIR_ID}" if path in BUNDLED else file.name
        self._context = _CONTEXT if context is None else context
        self._parallel = _PARALLEL if parallel is None else parallel
        self._hosted = Hosted(name, file, self._prepare, _write_one, threads=threads)

    @classmethod
    def from_spec(cls, name: str, spec: EngineSpec) -> Embedded:
        """Return the engine `spec` describes. Raises BadConfig if it lacks the path."""
        if spec.path is None:
            raise BadConfig(f"engine {name!r}: give the path of its GGUF file")
        return cls(
            spec.path,
            name=name,
            context=spec.context,
            parallel=spec.parallel,
            threads=spec.threads,
            timeout_s=spec.timeout_s,
        )

    async def close(self) -> None:
        """Close the connections and unload the model."""
        await super().close()
        await asyncio.to_thread(self._hosted.unload)

    async def _probe(self) -> Capabilities:
        return replace(await super()._probe(), server=f"llama.cpp in xllamacpp {version('xllamacpp')}")

    async def _connect(self) -> Transport:
        address, key = await asyncio.to_thread(self._hosted.serve)
        return Transport(self.name, address, api_key=key, timeout_s=self._timeout_s, keeps_connections=False)

    def _prepare(self, params: Any) -> None:
        params.model_alias = {self._alias}
        params.n_ctx = self._context * self._parallel
        params.n_parallel = self._parallel
        # Keeps what models with sliding-window attention would drop: without it, no prefix of theirs is reused.
        params.swa_full = True
        params.cache_ram_mib = _PUT_ASIDE_MIB


def _write_one(server: Any) -> None:
    server.handle_completions({"prompt": "a", "max_tokens": 1})
