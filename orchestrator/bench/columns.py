"""Plain text in 80 columns: tables whose columns go below each other where they do not fit, and paragraphs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

__all__ = ["columns", "wrapped"]

WIDTH = 80
_GAP = "  "


def wrapped(text: str) -> str:
    """Return a paragraph of at most WIDTH columns, indented from its second line on."""
    return textwrap.fill(
        text, WIDTH, subsequent_indent=_GAP, break_long_words=False, break_on_hyphens=False, replace_whitespace=True
    )


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], *notes: str, keys: int = 1) -> str:
    """Return a table, or several below each other if its columns do not fit beside each other.

    The first `keys` columns tell rows apart, and stand in each of them.
    """
    widths = [max(len(line[place]) for line in [header, *rows]) for place in range(len(header))]
    blocks: list[list[int]] = []
    for place in range(keys, len(header)):
        if not blocks or sum(len(_GAP) + widths[each] for each in [*blocks[-1], place]) + widths[0] > WIDTH:
            blocks.append([*range(1, keys)])
        blocks[-1].append(place)
    parts = ["\n".join(_line(line, widths, block) for line in [header, *rows]) for block in blocks]
    return "\n".join(["\n\n".join(parts), *map(wrapped, notes)])


def _line(cells: Sequence[str], widths: Sequence[int], places: Iterable[int]) -> str:
    first = cells[0].ljust(widths[0])
    return _GAP.join([first, *(cells[place].rjust(widths[place]) for place in places)]).rstrip()
