"""What a timeline is printed on: whether it takes colour, which letters it has, and how long its lines are."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO

from rich.cells import cell_len
from rich.text import Text

from orchestrator.runtime.width import width_of

__all__ = ["MIN_WIDTH", "as_text", "folded", "laid_out", "width_of", "write"]

MIN_WIDTH = 60
"""Columns that a timeline is made for, at least."""


def write(text: Text, file: IO[str] | None = None, *, width: int) -> None:
    """Print `text`, whose lines have at most `width` columns.

    It has colour on a terminal that can show it, unless NO_COLOR is set. Letters that the encoding of `file` lacks are
    spelled out, and lines that get too long by that go on in the next one.
    """
    from rich.console import Console

    file = file or sys.stdout
    console = Console(file=file, highlight=False, soft_wrap=True)
    lines = _spelled(text, getattr(file, "encoding", None) or "utf-8", width)
    if console.is_terminal or console.is_jupyter:
        console.print(lines)
    else:
        file.write(lines.plain + "\n")


def laid_out(lines: Iterable[Text], width: int) -> Text:
    """Return lines that are made for 60 columns or more as one text; where `width` is less, they go on in others."""
    room = max(width, MIN_WIDTH)
    found: list[Text] = []
    for line in lines:
        if len(line) > room or not line.plain.isascii():
            line.truncate(room, overflow="ellipsis")
        found += [line] if width == room else folded(line, width)
    return Text("\n").join(found)


def as_text(lines: Iterable[str], width: int) -> Text:
    """Return lines as one text; what is wider goes on in the next line."""
    return Text("\n").join(piece for line in lines for piece in folded(Text(line), width) or [Text()])


def folded(line: Text, width: int) -> list[Text]:
    """Return `line` in pieces of at most `width` columns; a letter that is wider stands alone."""
    ends, used = [], 0
    for place, letter in enumerate(line.plain):
        used += cell_len(letter)
        if used > width and place:
            ends.append(place)
            used = cell_len(letter)
    return list(line.divide(ends))


def _spelled(text: Text, encoding: str, width: int) -> Text:
    """Return `text` with everything that the encoding lacks as its Python escape, and `…` as three dots."""
    try:
        text.plain.encode(encoding)
        return text
    except (UnicodeEncodeError, LookupError):
        lines = []
        for line in text.split("\n", allow_blank=True):
            if line.plain.endswith("…"):  # it was cut already: three dots are to take no line of their own
                line.right_crop(1)
                line.truncate(width - 3)
                line.append("...")
            plain = line.plain.replace("…", "...").encode(encoding, "backslashreplace").decode(encoding)
            spans = line.spans if len(plain) == len(line) else []
            lines += folded(Text(plain, line.style, spans=spans), width)
        return Text("\n").join(lines)
