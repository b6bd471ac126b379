"""llama.cpp inside this process, serving a GGUF file to nobody but us.

It listens on a free loopback port behind a key that is made afresh for every start, so that other
users of the machine cannot use it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from orchestrator.engines.base import Capabilities
from orchestrator.engines.dialects.llamacpp import LlamaCpp
from orchestrator.engines.http import Transport
from orchestrator.engines.pocket import BUNDLED, PAIR_ID, bundled
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import BadConfig

__all__ = ["Embedded"]

_CONTEXT = 4096
_PARALLEL = 4
_MAGIC = b"GGUF"
_SILENT = -1
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
        self._path = Path(bundled(str(path)))
        self._alias = f"{path} of {PAIR_ID}" if path in BUNDLED else self._path.name
        self._context = _CONTEXT if context is None else context
        self._parallel = _PARALLEL if parallel is None else parallel
        self._threads = threads
        self._server: Any = None
        self._serving = threading.Lock()

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
        await asyncio.to_thread(self._unload)

    async def _probe(self) -> Capabilities:
        return replace(await super()._probe(), server=f"llama.cpp in xllamacpp {version('xllamacpp')}")

    async def _connect(self) -> Transport:
        address, key = await asyncio.to_thread(self._serve)
        return Transport(self.name, address, api_key=key, timeout_s=self._timeout_s, keeps_connections=False)

    def _serve(self) -> tuple[str, str]:
        """Start the server if it is not running; return its address and key. Blocks while the model loads."""
        with self._serving:
            if self._server is None:
                self._check_file()
                self._key = secrets.token_urlsafe(32)
                self._server = self._launch(self._key)
            return self._server.listening_address, self._key

    def _unload(self) -> None:
        with self._serving:
            self._server = None  # the server stops when nothing refers to it

    def _check_file(self) -> None:
        try:
            with self._path.open("rb") as file:
                magic = file.read(len(_MAGIC))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise BadConfig(
                f"engine {self.name!r}: cannot read the model file {str(self._path)!r}: {reason}"
            ) from error
        if magic != _MAGIC:
            raise BadConfig(f"engine {self.name!r}: {str(self._path)!r} is not a GGUF file")

    def _launch(self, key: str) -> Any:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(self._path)
        params.model_alias = {self._alias}
        params.n_ctx = self._context * self._parallel
        params.n_parallel = self._parallel
        # Keeps what models with sliding-window attention would drop: without it, no prefix of theirs is reused.
        params.swa_full = True
        params.cache_ram_mib = _PUT_ASIDE_MIB
        params.cpuparams.n_threads = self._threads or os.cpu_count() or 1
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [key]
        params.endpoint_props = True
        params.ui = False
        params.verbosity = _SILENT
        try:
            server = xllamacpp.Server(params)
        except RuntimeError as error:
            what = "llama.cpp cannot load it: is it complete, of a kind this version knows, and is there memory for it?"
            raise BadConfig(f"engine {self.name!r}: {str(self._path)!r}: {what}") from error
        # A server that is let go before its loop has taken up work never ends, so it is given some.
        server.handle_completions({"prompt": "a", "max_tokens": 1})
        return server
