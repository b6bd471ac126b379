"""Do a piece of work once, however many callers wait for its result and in whichever event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["StartOnce"]

T = TypeVar("T")


class StartOnce(Generic[T]):
    """The result of `work()`, made when it is first asked for.

    A caller that is cancelled leaves the work running for the others. A failure is raised to all who
    wait and then forgotten. Two event loops that ask at the same moment may both do the work.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._result: tuple[T] | None = None
        self._running: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[T]] = WeakKeyDictionary()

    async def get(self) -> T:
        """Return the result, at once if it is there."""
        if self._result is not None:
            return self._result[0]
        loop = asyncio.get_running_loop()
        task = self._running.get(loop)
        if task is None:
            task = self._running[loop] = loop.create_task(self._work())
            task.add_done_callback(self._done)
        result = await asyncio.shield(task)
        self._result = (result,)
        return result

    def forget(self) -> None:
        """Have the work done again when it is next asked for."""
        self._result = None

    def _done(self, task: asyncio.Task[T]) -> None:
        self._running.pop(task.get_loop(), None)
        if not task.cancelled():
            task.exception()  # seen, even where every caller was cancelled
