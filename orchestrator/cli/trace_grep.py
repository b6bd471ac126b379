"""`trace show --grep` and `trace list --grep`: what all runs said, by its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

    from orchestrator.traces.searching import Found, Hit

__all__ = ["grepped", "show_hits"]


def show_hits(name: str | None, words: str, number: int, *, as_json: bool, given: Mapping[str, Any]) -> None:
    """Print what holds these words, of all runs or of one, and how many more there are."""
    from orchestrator.cli.stored import journal_path
    from orchestrator.cli.streams import note
    from orchestrator.traces.searching import search

    found = search(journal_path(given), words, limit=number, run=name, tell=note)
    if as_json:
        _print_json(found, given)
    else:
        _print(found)
    if not found.total:
        note(f"nothing holds {words}" if len(words) <= 40 else "nothing holds all of that")
    elif found.total > len(found.hits):
        note(f"{len(found.hits):,} of {found.total:,} found: -n shows more")


def grepped(words: str, given: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the runs that hold these words."""
    from orchestrator.cli.stored import journal_path
    from orchestrator.cli.streams import note
    from orchestrator.traces.searching import runs_with

    return runs_with(journal_path(given), words, tell=note)


def _print_json(found: Found, given: Mapping[str, Any]) -> None:
    from dataclasses import asdict

    from orchestrator.cli.stored import redactor
    from orchestrator.cli.streams import say_json

    redact = redactor(given)
    for hit in found.hits:
        plain = asdict(hit)
        del plain["marks"]  # of the text before secrets were hidden
        say_json(redact.data(plain))


def _print(found: Found) -> None:
    from orchestrator.cli.streams import printing
    from orchestrator.runtime.paper import width_of, write

    columns = width_of()
    with printing():
        for hit in found.hits:
            for line in _lines(hit, columns):
                write(line, width=columns)


def _lines(hit: Hit, columns: int) -> Iterator[Text]:
    from rich.text import Text

    from orchestrator.runtime.attempts import STANDS
    from orchestrator.runtime.paper import folded
    from orchestrator.traces.searching import snippet
    from orchestrator.visible import first_words

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
