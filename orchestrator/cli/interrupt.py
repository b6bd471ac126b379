"""Ctrl-C and SIGTERM end a command in good order: what runs is cancelled, cleaned up and kept."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from orchestrator.cli.streams import note

__all__ = ["Interrupted", "run_until_done"]

KEPT = "ended at once; what was stored is kept, and the next command can go on from there"

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The user or the system asked the command to end, and it did."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def run_until_done(work: Coroutine[Any, Any, T], last_words: str = KEPT) -> T:
    """Return what `work` returns. Raises Interrupted after its clean-up.

    A second signal does not wait for that: it ends the process with `last_words`.
    """
    return asyncio.run(_watched(work, last_words))


async def _watched(work: Coroutine[Any, Any, T], last_words: str) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    caught: list[int] = []

    def stop(number: int) -> None:
        caught.append(number)
        _listen(loop, partial(_end_now, last_words))
        task.cancel()

    _listen(loop, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if caught:
            raise Interrupted(caught[0]) from None
        raise
    finally:
        _forget(loop)


def _listen(loop: asyncio.AbstractEventLoop, handler: Callable[[int], None]) -> None:
    for each in _SIGNALS:
        with suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt instead
            loop.add_signal_handler(each, handler, each)


def _end_now(last_words: str, number: int) -> None:
    """End without any clean-up: whoever asks a second time has waited long enough."""
    note(last_words)
    os._exit(128 + number)


def _forget(loop: asyncio.AbstractEventLoop) -> None:
    for each in _SIGNALS:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(each)
