"""`orchestrator handbook list` and `search`: what is in a handbook, one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.handbook_file import embedding_of, handbook_flags, reading, writing
from orchestrator.cli.streams import counted, note, say, width
from orchestrator.errors import StoreError

if TYPE_CHECKING:
    from orchestrator.behaviors import Behavior
    from orchestrator.memory.handbook import Handbook
    from orchestrator.runtime.meaning import Ranked
    from orchestrator.runtime.tracking import Tally

__all__ = ["list_behaviors", "search"]

_MOST = 1 << 20
"""Behaviors that are asked for at once."""
_SHORTEST = 20
"""Characters of a behavior that are shown on the narrowest terminal."""
_SECTION = 12
"""Characters of a section that are shown, at most."""


@click.command("list", epilog="Example: orchestrator handbook list --section sums")
@click.option("--section", help="Only of this topic.")
@click.option("--retired", is_flag=True, help="Those that are recalled no more as well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per behavior.")
@handbook_flags
def list_behaviors(section: str | None, retired: bool, as_json: bool, **given: Any) -> None:
    """List the behaviors: in how many runs each was shown and cited, and how often it helped or harmed.

    The journal says what was shown and cited; where there is none, `-` is said. Lines are cut at the terminal's width;
    `handbook show` and --json have all of them.
    """
    from orchestrator.handbook.exchange import line
    from orchestrator.visible import visible

    wanted = None if section is None else visible(section)
    with reading(given) as book:
        found = book.behaviors(section=wanted, retired=retired)
        sections = sorted({each.section for each in book.behaviors(retired=retired) if each.section})
    if wanted is not None and not found:
        note(f"no behavior of section {wanted!r}; sections: {', '.join(sections) or 'none'}")
    elif as_json:
        for each in found:
            say(line(each))
    else:
        _list(found, _tallies(given, book))
        gone = sum(not each.is_active for each in found)
        note(counted(len(found), "behavior") + (f", {gone} of them retired" if gone else ""))


def _list(found: list[Behavior], known: dict[int, Tally] | None) -> None:
    rows = []
    for each in found:
        shown, cited = ("-", "-") if known is None else _counts(known.get(each.id))
        rows.append((f"{each.id:>5} {shown:>5} {cited:>5} {each.helpful:>7} {each.harmful:>7}", each))
    _say(f"{'id':>5} {'shown':>5} {'cited':>5} {'helpful':>7} {'harmful':>7}", rows)


@click.command("search", epilog='Example: orchestrator handbook search "What is 17 + 25?"')
@click.argument("question")
@click.option("-n", "number", type=click.IntRange(1, _MOST), default=10, show_default=True, help="Behaviors to show.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per behavior.")
@handbook_flags
def search(question: str, number: int, as_json: bool, **given: Any) -> None:
    """Show what a question finds, the best first: by words, and by meaning where an embedding is configured.

    A score is the cosine with the question, `-` for what is not embedded; without an embedding it is BM25, by words.
    """
    from orchestrator.cli.interrupt import run_until_done
    from orchestrator.handbook.exchange import line

    found, by_words = run_until_done(_found(question, number, given))
    shown = found.behaviors[:number]
    if as_json:
        for each, _ in shown:
            say(line(each))
    elif shown:
        rows = [
            (f"{each.id:>5} {_score(score, found)} {_way(each, score, found, by_words):<7}", each)
            for each, score in shown
        ]
        _say(f"{'id':>5} {'cosine' if found.has_cosines else 'BM25':>7} {'by':<7}", rows)
    note(f"{counted(len(shown), 'behavior')} by {found.by}")
    if found.num_left:
        note("`orchestrator handbook embed` embeds all of them")


async def _found(question: str, number: int, given: Mapping[str, Any]) -> tuple[Ranked, set[int]]:
    """Return what is found, and the ids of what words find."""
    from orchestrator.runtime.meaning import ranked

    spec = embedding_of(given)
    embedding = None if spec is None else spec.made()
    try:
        with reading(given) if embedding is None else writing(given) as book:
            found = await ranked(book, question, number, embedding)
            return found, {each.id for each, _ in book.search(question, number)}
    finally:
        if embedding is not None:
            await embedding.close()


def _score(score: float, found: Ranked) -> str:
    if not found.has_cosines:
        return f"{score:>7.2g}"  # of few behaviors, BM25 is next to nothing
    return f"{score:>7.2f}" if score else f"{'-':>7}"


def _way(behavior: Behavior, score: float, found: Ranked, by_words: set[int]) -> str:
    if behavior.id not in by_words:
        return "meaning"
    return "both" if found.has_cosines and score else "words"


def _tallies(given: Mapping[str, Any], book: Handbook) -> dict[int, Tally] | None:
    """Return what the journal knows of the handbook's behaviors; None where there is no journal."""
    from orchestrator.cli.stored import open_journal
    from orchestrator.runtime.tracking import tallies

    try:
        with open_journal(given) as journal:
            return tallies(journal, book)
    except StoreError:
        return None


def _counts(tally: Tally | None) -> tuple[int, int]:
    return (0, 0) if tally is None else (tally.shown, tally.cited)


def _say(head: str, rows: Sequence[tuple[str, Behavior]]) -> None:
    """Print a line of each behavior behind its figures, as much of it as there is room for."""
    from orchestrator.handbook.prompts import line
    from orchestrator.visible import first_words

    sections = [first_words(each.section or "-", _SECTION) for _, each in rows]
    widest = max(map(len, ("section", *sections)))
    say(f"{head}  {'section':<{widest}}  behavior")
    for (figures, each), section in zip(rows, sections, strict=True):
        before = f"{figures}  {section:<{widest}}  {'' if each.is_active else 'x '}"
        say(before + first_words(line(each), max(width() - len(before), _SHORTEST)))
