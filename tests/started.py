"""Processes that tests start: a fake model server, its worker, and what became of them."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from orchestrator.engines.serving import Serving
from orchestrator.engines.spec import EngineSpec

T = TypeVar("T")

SCRIPT = Path(__file__).with_name("fake_server.py")
PATIENCE_S = 30.0
"""For what happens at once on a machine that has nothing else to do."""


def until(found: Callable[[], T | None], what: str) -> T:
    """Return what `found` returns once that is true."""
    give_up = time.monotonic() + PATIENCE_S
    while not (result := found()):
        assert time.monotonic() < give_up, f"waited in vain for {what}"
        time.sleep(0.01)
    return result


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:  # it went between the question and the look
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # where there is no /proc, the signal has to do


def until_gone(*pids: int) -> None:
    """Wait for processes to end."""
    until(lambda: not any(map(is_alive, pids)), f"the end of {pids}")


def free_port() -> int:
    """Return a port that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Fake:
    """A fake server's folder, address and command; nothing of it is alive after the `with`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.python = folder / "python"
        self.python.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {SCRIPT} "$@"\n')
        self.python.chmod(0o755)

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("server", "worker"):
            if (pid := self._noted(name)) and is_alive(pid):
                os.kill(pid, signal.SIGKILL)

    @property
    def command(self) -> list[str]:
        """What starts it without a supervisor."""
        return [str(self.python), "--port", str(self.port)]

    def env(self, **told: object) -> dict[str, str]:
        """Return its environment: `dies="so"` is FAKE_DIES=so."""
        return {"FAKE_FOLDER": str(self.folder)} | {f"FAKE_{name.upper()}": str(value) for name, value in told.items()}

    def spec(self, **told: object) -> EngineSpec:
        """Return the engine that it serves."""
        serving = Serving(model="org/tiny", python=str(self.python), env=self.env(**told))
        return EngineSpec(kind="vllm", url=self.url, serving=serving)

    def pid(self, name: str = "server") -> int:
        """Wait for the server, or its worker, to say who it is."""
        return until(lambda: self._noted(name), f"the process id of the {name}")

    def starts(self) -> list[float]:
        """Return when it was started, in seconds of a monotonic clock."""
        return self._times("starts")

    def asked(self) -> list[float]:
        """Return when it was asked whether it is well, in seconds of a monotonic clock."""
        return self._times("asked")

    def _times(self, name: str) -> list[float]:
        path = self.folder / name
        return [float(line) for line in path.read_text().splitlines()] if path.exists() else []

    def answers(self) -> bool:
        """Return whether somebody has its port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _noted(self, name: str) -> int | None:
        path = self.folder / name
        text = path.read_text() if path.exists() else ""
        return int(text) if text.endswith("\n") else None
