"""The synchronous edge: run a coroutine from plain code, also where an event loop is already running.

One background thread with one event loop serves the whole process, so engines keep their
connections between calls. The caller's context variables travel along; LangGraph's interrupts and
configuration depend on them.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

from orchestrator.errors import UserError

__all__ = ["run_sync"]

T = TypeVar("T")

_GOODBYE_S = 2.0
"""What connections may take to close when the interpreter ends."""

_THREAD = "orchestrator portal"
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid = 0
"""The process whose thread runs the loop: a forked child has none."""


def _portal() -> asyncio.AbstractEventLoop:
    global _loop, _pid
    with _lock:
        if _loop is None or _pid != os.getpid() or not _loop.is_running():
            _pid = os.getpid()
            _loop = asyncio.new_event_loop()
            ready = threading.Event()
            _loop.call_soon(ready.set)
            threading.Thread(target=_serve, args=(_loop,), name=_THREAD, daemon=True).start()
            ready.wait()
            atexit.register(_close_connections, _loop, _pid)
        return _loop


def _close_connections(loop: asyncio.AbstractEventLoop, pid: int) -> None:
    """Let go of what pipelines that nobody closed have open: it lives as long as its loop, and ends with its
    asynchronous generators."""
    if pid == os.getpid() and loop.is_running():
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(_GOODBYE_S)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped. What asks to leave, as `sys.exit()` in somebody's monitor does, is left to
    whoever waits for the task that raised it: asyncio hands it to both, and would end the loop for everybody."""
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue
        return


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the coroutine's result. An interrupt of the caller (Ctrl-C) cancels it and waits for its clean-up.

    Raises UserError when called from the loop that would have to run it, or when the interpreter is ending.
    """
    if sys.is_finalizing():  # the thread that would run it is gone by now
        coroutine.close()
        raise UserError("the interpreter is ending: close pipelines before that")
    loop = _portal()
    result: Future[T] = Future()
    tasks: list[asyncio.Task[T]] = []

    def begin() -> None:
        task = loop.create_task(coroutine)
        tasks.append(task)
        task.add_done_callback(finish)

    def finish(task: asyncio.Task[T]) -> None:
        if task.cancelled():
            result.cancel()
            result.set_running_or_notify_cancel()
        elif error := task.exception():
            result.set_exception(error)
        else:
            result.set_result(task.result())

    if threading.current_thread().name == _THREAD:
        coroutine.close()
        raise UserError("run() was called inside a run: await arun() there")
    loop.call_soon_threadsafe(begin, context=copy_context())
    try:
        return result.result()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
        wait([result])
        raise
