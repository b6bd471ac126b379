"""A GGUF file that llama.cpp serves inside this process, to nobody but us.

It listens on a free loopback port behind a key that is made afresh for every start, so that other
users of the machine cannot use it.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.errors import BadConfig

__all__ = ["Hosted"]

_MAGIC = b"GGUF"
_SILENT = -1


class Hosted:
    """The file at `path`, which is loaded when it is first served.

    `prepare` says on llama.cpp's parameters how; `engine` is who asks, for error messages. A server that is let go
    before its loop has taken up work never ends, so `work` gives it some.
    """

    def __init__(
        self,
        engine: str,
        path: Path,
        prepare: Callable[[Any], None],
        work: Callable[[Any], object],
        *,
        threads: int | None = None,
    ) -> None:
        self._engine, self._path = engine, path
        self._prepare, self._work = prepare, work
        self._threads = threads
        self._server: Any = None
        self._key = ""
        self._serving = threading.Lock()

    def serve(self) -> tuple[str, str]:
        """Start the server if it is not running; return its address and key. Blocks while the model loads.

        Raises BadConfig for a file that cannot be served.
        """
        with self._serving:
            if self._server is None:
                self._check_file()
                self._key = secrets.token_urlsafe(32)
                self._server = self._launch(self._key)
            return self._server.listening_address, self._key

    def unload(self) -> None:
        """Let go of the model; the next call loads it again."""
        with self._serving:
            self._server = None  # the server stops when nothing refers to it

    def _check_file(self) -> None:
        try:
            with self._path.open("rb") as file:
                magic = file.read(len(_MAGIC))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise BadConfig(
                f"engine {self._engine!r}: cannot read the model file {str(self._path)!r}: {reason}"
            ) from error
        if magic != _MAGIC:
            raise BadConfig(f"engine {self._engine!r}: {str(self._path)!r} is not a GGUF file")

    def _launch(self, key: str) -> Any:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(self._path)
        params.cpuparams.n_threads = self._threads or os.cpu_count() or 1
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [key]
        params.endpoint_props = True
        params.ui = False
        params.verbosity = _SILENT
        self._prepare(params)
        try:
            server = xllamacpp.Server(params)
        except RuntimeError as error:
            what = "llama.cpp cannot load it: is it complete, of a kind this version knows, and is there memory for it?"
            raise BadConfig(f"engine {self._engine!r}: {str(self._path)!r}: {what}") from error
        self._work(server)
        return server
