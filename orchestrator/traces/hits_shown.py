"""What a search found: where it is, and the words around it; texts of strangers are made harmless."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from orchestrator.runtime.attempts import STANDS
from orchestrator.runtime.paper import folded
from orchestrator.traces.searching import snippet
from orchestrator.visible import first_words

if TYPE_CHECKING:
    from orchestrator.traces.searching import Hit

__all__ = ["lines"]


def lines(hit: Hit, columns: int) -> Iterator[Text]:
    """Yield where a hit is, and the words around it, as wide as there is room."""
    place = hit.what if hit.step is None else f"step {hit.step}"
    stands = hit.verdict is None or hit.verdict in STANDS
    verdict = (hit.verdict or "") if stands else f"x {hit.verdict}"
    head = f"{hit.run:<16}  {place:<9} {first_words(hit.writer or '', 16):<16} {verdict}".rstrip()
    yield from folded(Text(head, "dim"), columns)
    indent = "       " if stands else "       | "
    line = Text(indent)
    for piece, is_marked in snippet(hit, columns - len(indent) - 2):
        line.append(piece, "bold" if is_marked else "")
    line.truncate(columns, overflow="ellipsis")
    line.rstrip()
    yield line
