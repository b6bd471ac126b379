"""Typed Python functions as tools: what they return, raise or never return is an observation, and the run goes on."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from time import monotonic
from typing import Any, overload

from orchestrator.errors import UserError
from orchestrator.functions import named
from orchestrator.tools.base import Observation
from orchestrator.tools.observing import (
    STILL_RUNNING,
    account,
    blame,
    check_cap,
    check_timeout,
    in_time,
    observe,
    too_late,
)
from orchestrator.tools.signature import signature

__all__ = ["NAME", "Function", "tool"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""What a tool may be called."""


class Function:
    """A function that engines may call.

    A plain function runs in a daemon thread of its own: one that hangs holds up neither the run nor the end of the
    program, but nothing can stop it, and the observation says so. An async function runs on the run's loop and is
    cancelled; one that blocks the loop blocks the run. Whatever either raises, SystemExit and KeyboardInterrupt
    included, is an observation. Cancelling the run is passed on.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        timeout_s: float = 30.0,
        max_chars: int = 4000,
        is_idempotent: bool = False,
        needs_approval: bool = False,
    ) -> None:
        """Make a tool of `function`; its parameters need types, its docstring says what it does.

        `timeout_s` in seconds, > 0; `max_chars` caps an observation, >= 100. Raises UserError.
        """
        name = getattr(function, "__name__", "") if name is None else name
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            raise UserError(f"tool name {name!r}: give name= with letters, digits, _ and -, at most 64")
        check_timeout(name, timeout_s)
        check_cap(name, max_chars)
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise UserError(f"tool {name!r} is a generator: return a list or a text")
        self.function = function
        self.name = name
        self.timeout_s = timeout_s
        self.max_chars = max_chars
        self.is_idempotent = is_idempotent
        self.needs_approval = needs_approval
        self._signature = signature(function)
        self.description = self._signature.description
        self.parameters: Mapping[str, Any] = self._signature.parameters

    def settings(self) -> dict[str, Any]:
        """Return the limits of a call, and what a function of somebody's is: a resumed run has to have the same."""
        limits = {"timeout_s": self.timeout_s, "max_chars": self.max_chars}
        function = named(self.function)
        return limits if function.startswith("orchestrator.") else {**limits, "function": function}

    def check(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments converted to the function's types. Raises BadCall."""
        return self._signature.check(self.name, arguments)

    async def __call__(self, arguments: Mapping[str, Any]) -> Observation:
        """Call the function with arguments that `check` returned."""
        began = monotonic()
        if inspect.iscoroutinefunction(self.function):
            text = await in_time(lambda: self.function(**arguments), self.name, self.timeout_s)
        else:
            text = await self._in_a_thread(arguments)
        return observe(text, self.max_chars, monotonic() - began)

    async def _in_a_thread(self, arguments: Mapping[str, Any]) -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def deliver(text: str) -> None:
            if not answer.done():
                answer.set_result(text)

        def work() -> None:
            text = account(lambda: self.function(**arguments))
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(deliver, text)

        thread = threading.Thread(target=copy_context().run, args=(work,), name=f"tool {self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            return blame(error)
        done, _ = await asyncio.wait({answer}, timeout=self.timeout_s)
        return answer.result() if done else too_late(self.name, self.timeout_s, STILL_RUNNING)


@overload
def tool(function: Callable[..., Any]) -> Function: ...
@overload
def tool(
    *,
    name: str | None = None,
    timeout_s: float = 30.0,
    max_chars: int = 4000,
    idempotent: bool = False,
    needs_approval: bool = False,
) -> Callable[[Callable[..., Any]], Function]: ...
def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    timeout_s: float = 30.0,
    max_chars: int = 4000,
    idempotent: bool = False,
    needs_approval: bool = False,
) -> Function | Callable[[Callable[..., Any]], Function]:
    """Make a tool of a function: `@tool`, `@tool(timeout_s=5, idempotent=True)` or `tool(function)`."""

    def made(function: Callable[..., Any]) -> Function:
        return Function(
            function,
            name=name,
            timeout_s=timeout_s,
            max_chars=max_chars,
            is_idempotent=idempotent,
            needs_approval=needs_approval,
        )

    return made if function is None else made(function)
