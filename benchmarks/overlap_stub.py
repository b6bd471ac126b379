"""Engines that say a script's steps and take as long as a machine would, and a clock that skips their waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from selectors import DefaultSelector, SelectorKey
from time import process_time

from overlap_script import Planned, took_s

from orchestrator.bench.profiles import Hardware
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted


class Timed(Scripted):
    """Says a script's steps and takes as long as the machine would, its prefix cache of any size."""

    def __init__(self, steps: Sequence[Planned], machine: Hardware) -> None:
        super().__init__(self._say)
        self._steps = steps
        self._machine = machine
        self._seen: list[bytes] = []

    def _say(self, request: Request) -> Reply:
        assert request.prompt is not None
        self.requests.clear()
        prompt = bytes(request.prompt.ids())
        number = prompt.partition(b"assistant: ")[2].partition(b"\nuser:")[0].count(b"\n\n")
        if request.purpose == "judge":
            text = "0" if self._steps[number - 1].is_rejected else "9"
        else:
            text = self._steps[number].draft if request.purpose == "draft" else self._steps[number].rewrite
        cached = max((_common(prompt, each) for each in self._seen), default=0)
        self._seen = [prompt + text.encode(), *self._seen[:15]]
        return Reply(text=text, latency_s=took_s(self._machine, self.name, len(prompt) - cached, len(text)))


def _common(one: bytes, other: bytes) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


class Skipping(DefaultSelector):
    """Lets an event loop skip its waits; `now` is its clock."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped_s = 0.0

    def now(self) -> float:
        """Return seconds of CPU and of skipped waits."""
        return process_time() + self._skipped_s

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Return what is ready; where nothing is, the time that would be waited has passed."""
        ready = super().select(timeout if timeout is None else 0)
        self._skipped_s += 0 if ready or timeout is None else max(timeout, 0)
        return ready


def skipping_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that never waits."""
    selector = Skipping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = selector.now  # type: ignore[method-assign]
    return loop
