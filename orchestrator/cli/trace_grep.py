"""`trace show --grep` and `trace list --grep`: what all runs said, by its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.traces.searching import Found

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
    from orchestrator.traces.hits_shown import lines

    columns = width_of()
    with printing():
        for hit in found.hits:
            for line in lines(hit, columns):
                write(line, width=columns)
