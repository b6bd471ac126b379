"""Whatever a tool gave back or raised, made into text that an engine may read: printable, short, without our paths."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

from pydantic_core import to_json

from orchestrator.document import is_number
from orchestrator.errors import BadCall, UserError
from orchestrator.options import check_whole
from orchestrator.tools.base import ERROR, Observation, Tool
from orchestrator.visible import visible

__all__ = [
    "MIN_CHARS",
    "STILL_RUNNING",
    "account",
    "account_of",
    "as_text",
    "blame",
    "cap_of",
    "check_cap",
    "check_timeout",
    "in_time",
    "observe",
    "too_late",
]

MAX_CHARS = 4000
"""The cap of a tool that names none."""

MIN_CHARS = 100
"""The smallest cap a tool may have: the note that says what was cut has to fit."""
STILL_RUNNING = "it may still be running"
_GRACE_S = 1.0
"""How long an async call may clean up once it is cancelled."""
_BLAME_CHARS = 500
_FOLDERS = re.compile(r"(?<![\w/:.])/(?:[^\s'\"/:]+/)+")


def check_cap(name: str, max_chars: Any) -> None:
    """Raise UserError for what is no cap of a tool's."""
    check_whole(f"tool {name!r}", {"max_chars": max_chars}, max_chars=MIN_CHARS)


def check_timeout(name: str, timeout_s: Any) -> None:
    """Raise UserError for what is no time limit of a tool's."""
    if not (is_number(timeout_s) and timeout_s > 0):
        raise UserError(f"tool {name!r}: timeout_s = {timeout_s!r} must be a number of seconds above 0")


def cap_of(tool: Tool | None) -> int:
    """Return how many characters an engine is given of what a tool says, or is said in the place of one."""
    cap: int = getattr(tool, "max_chars", MAX_CHARS)
    return cap


def account(call: Callable[[], Any]) -> str:
    """Return what came of a call, as text; never raises."""
    try:
        return as_text(call())
    except BaseException as error:  # SystemExit and the like are the tool's, not the run's
        return blame(error)


async def account_of(call: Callable[[], Awaitable[Any]]) -> str:
    """Return what came of an async call, as text; raises only if it is being cancelled."""
    try:
        result = await call()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return blame(error)
    except BaseException as error:
        return blame(error)
    return account(lambda: result)


async def in_time(call: Callable[[], Awaitable[Any]], name: str, timeout_s: float) -> str:
    """Return what came of an async call of tool `name`, as text; one that takes longer is cancelled.

    Raises only if it is being cancelled itself.
    """
    task = asyncio.create_task(account_of(call))  # of its own: what it raises cannot get past it
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
        if done:
            return task.result()
    finally:  # a timeout, or the run is cancelled
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_GRACE_S)
    return too_late(name, timeout_s, "it was cancelled" if task.done() else STILL_RUNNING)


def too_late(name: str, timeout_s: float, state: str) -> str:
    """Return what an engine is told of a tool that did not answer in time."""
    return f"{ERROR}{name} gave no answer within {timeout_s:g} s; {state}"


def observe(text: str, max_chars: int, seconds: float = 0.0) -> Observation:
    """Return the observation: at most `max_chars` characters of `text`, made printable; a note says what was cut.

    It tells of an error exactly where it begins with ERROR.
    """
    shown = visible(text[:max_chars])  # spelling out makes text longer, never shorter
    if len(text) > max_chars or len(shown) > max_chars:
        note = f"\n[cut here: the whole has {len(text)} characters]"
        shown = shown[: max_chars - len(note)] + note
    return Observation(shown, seconds, is_error=shown.startswith(ERROR))


def as_text(result: Any) -> str:
    """Return a result as text: a text as it is, everything else as JSON. Raises BadCall where that cannot be."""
    if isinstance(result, str):
        return str.__str__(result)  # a subclass may say anything of itself
    kind = type(result).__name__
    if isinstance(result, (bytes, bytearray, memoryview)):
        raise BadCall(f"the tool returned {kind}, which are no text: it has to decode them")
    if hasattr(result, "__next__") or hasattr(result, "__anext__") or isawaitable(result):
        _close(result)
        raise BadCall(f"the tool returned a {kind}, which may have no end: it has to return a list or a text")
    try:
        return to_json(result).decode()
    except Exception as error:
        raise BadCall(f"the tool returned a {kind}, which cannot be written as JSON: {_said(error)}") from None


def _close(result: Any) -> None:
    if hasattr(result, "close"):
        result.close()


def blame(error: BaseException) -> str:
    """Return one line that begins with ERROR: the class and what it says, without folders; never raises.

    A BadCall speaks for itself, without its class.
    """
    try:
        said, kind = _said(error), "" if isinstance(error, BadCall) else type(error).__name__
        return ERROR + (": ".join(filter(None, (kind, said))) or "the tool failed")
    except BaseException:  # an error can lie in how it is shown, too
        return f"{ERROR}the tool failed, and what it raised cannot be shown"


def _said(error: BaseException) -> str:
    return _FOLDERS.sub("", " ".join(str.__str__(str(error))[:_BLAME_CHARS].split()))
