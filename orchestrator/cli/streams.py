"""Results on stdout, everything else on stderr; nothing printed can crash on or disturb a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from typing import TYPE_CHECKING, Any, TextIO

import click

from orchestrator.errors import UserError
from orchestrator.visible import counted, visible

if TYPE_CHECKING:
    from rich.text import Text

__all__ = [
    "Unwritable",
    "abandon",
    "can_ask",
    "counted",
    "fail",
    "note",
    "prepare",
    "printing",
    "say",
    "say_json",
    "say_lines",
    "say_text",
    "to_json",
    "width",
    "writing",
]


class Unwritable(UserError):
    """Results cannot be written to where they go; `is_full` tells whether that lacks room."""

    def __init__(self, where: str, error: OSError) -> None:
        super().__init__(f"cannot write {where}: {error.strerror or error}")
        self.is_full = error.errno in (ENOSPC, EDQUOT)


def prepare() -> None:
    """Let both streams spell out what their encoding lacks instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def writing(where: str) -> Iterator[None]:
    """Turn a write that fails into Unwritable; that the reader of a pipe went away stays BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritable(where, error) from error


def abandon(stream: TextIO) -> None:
    """Let go of what `stream` could not write, so that closing it at exit does not try, and fail, again."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:  # a stream without a descriptor needs nothing
        os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def printing() -> Iterator[None]:
    """Print results; a write that fails is Unwritable, and closing stdout at exit will not fail again."""
    try:
        with writing("to stdout"):
            yield
    except Unwritable:
        abandon(sys.stdout)
        raise


def _tell(text: str) -> None:
    try:
        click.echo(visible(text), err=True)
    except OSError:  # nobody can be told, and results are worth more than remarks
        abandon(sys.stderr)


def say(text: str) -> None:
    """Print a result, made harmless to a terminal. Raises Unwritable."""
    with printing():
        click.echo(visible(text))


def say_text(text: Text) -> None:
    """Print lines of a timeline at once, as wide as they may be. Raises Unwritable."""
    from orchestrator.runtime.paper import write

    with printing():
        write(text, width=width())
        sys.stdout.flush()


def say_lines(lines: Iterable[str | Text]) -> None:
    """Print lines that are made for `width()`: what is longer goes on in the next one. Raises Unwritable."""
    room, found = width(), list(lines)
    if not sys.stdout.isatty() and all(isinstance(line, str) and _is_plain(line, room) for line in found):
        for line in found:
            say(str(line))
        return
    from rich.text import Text  # 50 ms, and most that is piped needs none of it

    from orchestrator.runtime.paper import laid_out, write

    texts = [Text(visible(line)) if isinstance(line, str) else line for line in found]
    with printing():
        write(laid_out(texts, room), width=room)


def _is_plain(line: str, room: int) -> bool:
    """Return whether stdout has each letter of the line, a column wide, and room for all."""
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return len(line) <= room and line.replace("…", "").isascii()


def width() -> int:
    """Return the columns that a line of a list may have: those of a timeline."""
    from orchestrator.runtime.width import width_of

    return width_of()


def can_ask() -> bool:
    """Return whether somebody can read on stderr and type on stdin."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def to_json(value: Any) -> str:
    """Return `value` as one line of ASCII: control characters and broken text stay data."""
    return json.dumps(value, separators=(",", ":"))


def say_json(value: Any) -> None:
    """Print a result as one line of JSON. Raises Unwritable."""
    with printing():
        click.echo(to_json(value))


def note(text: str) -> None:
    """Print a line for people."""
    _tell(text)


def fail(message: str) -> None:
    """Print an error on one line."""
    _tell(f"error: {' '.join(message.split())}")
