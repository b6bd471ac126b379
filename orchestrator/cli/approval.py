"""Ask the person at the terminal before a tool is called: one question at a time, and anything but yes is no."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from json import dumps

from orchestrator.cli.streams import can_ask, note
from orchestrator.runtime.run import Approval
from orchestrator.visible import visible

__all__ = ["Person"]

_MOST = 4000
"""Characters of an argument that are shown."""


class Person:
    """Whoever sits at the terminal. `aside` makes room on stderr while a question stands there."""

    def __init__(self, aside: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._aside = aside
        self._turn = asyncio.Lock()

    @classmethod
    def if_there(cls, aside: Callable[[], AbstractContextManager[object]] = nullcontext) -> Person | None:
        """Return one if somebody can read on stderr and type on stdin."""
        if sys.platform == "win32":  # its terminals cannot be waited for beside other work
            return None
        return cls(aside) if can_ask() else None

    async def __call__(self, approval: Approval) -> bool:
        """Return whether the person lets the tool be called; the end of input is no."""
        from termios import TCIFLUSH, tcflush

        async with self._turn:
            with self._aside():
                tcflush(sys.stdin, TCIFLUSH)  # what was typed before the question is no answer to it
                note(_question(approval))
                return (await _typed()).strip().lower() in ("y", "yes")


def _question(approval: Approval) -> str:
    """Return the question. What an engine wrote is behind a bar on every line, so that it cannot pass for ours."""
    lines = [f"run {approval.run_id} wants to call {visible(approval.tool)}: {visible(approval.reason)}"]
    for name, value in approval.arguments.items():
        text = visible(value if isinstance(value, str) else dumps(value, default=str))
        shown = text if len(text) <= _MOST else f"{text[:_MOST]}\n({len(text) - _MOST} more characters)"
        lines += [f"  {visible(name)}:", *(f"  | {line}" for line in shown.split("\n"))]
    return "\n".join([*lines, "Call it? y/N"])


async def _typed() -> str:
    """Return the line that is typed, without holding up the loop: a terminal is ready to be read once a line is."""
    loop, ready, descriptor = asyncio.get_running_loop(), asyncio.Event(), sys.stdin.fileno()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, 1 << 12).decode(errors="replace")
