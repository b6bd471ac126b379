"""Full-text search over the runs of a journal: questions, steps, whatever was written for one and turned away, answers.

    for hit in search("journal.db", '"carry the one" large*').hits:
        print(hit.run, hit.step, hit.verdict, hit.text)

All words must occur, in any order, whatever their case and accents; words in quotes follow each other, as those of
`98*6` do; a `*` behind two letters or more finds what begins like that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from os import PathLike, fspath
from sys import stderr
from typing import TYPE_CHECKING

from orchestrator.memory.journal import Journal
from orchestrator.memory.step_texts import StepText
from orchestrator.memory.step_words import StepWords
from orchestrator.memory.store import Store
from orchestrator.memory.wanted import Wanted
from orchestrator.runtime.attempts import Attempt
from orchestrator.runtime.displayed import Displayed
from orchestrator.runtime.fork import ancestors
from orchestrator.runtime.timeline import candidates
from orchestrator.visible import visible

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Found", "Hit", "runs_with", "search", "snippet"]

_SHOWN = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit(Displayed):
    """A text that holds what was searched for."""

    run: str
    """Id of its run."""
    what: str
    """`question`, `step` (of any kind, kept or not) or `answer`."""
    step: int | None
    """From 0; None of a question or an answer, and likewise the next three."""
    attempt: int | None
    writer: str | None
    """The engine, or the tool whose result it is."""
    verdict: str | None
    """What came of it, as in `trace show`: `kept`, `rejected`, `rolled back`, ..."""
    text: str
    """All of it, as it was written: nothing in it is made harmless, and secrets are not hidden."""
    marks: tuple[tuple[int, int], ...]
    """Where in it the words are: beginnings and ends, in order."""

    def drawn(self, width: int) -> Text:
        """Draw where it is and what is around the words, as `orchestrator trace show --grep` does."""
        from rich.text import Text

        from orchestrator.traces.hits_shown import lines

        return Text("\n").join(lines(self, width))


@dataclass(frozen=True, kw_only=True, slots=True)
class Found(Displayed):
    """What a search found."""

    hits: tuple[Hit, ...]
    """The newest run first, of a run the last step first."""
    total: int
    """How many there are; a step that was kept otherwise than it was written may count twice."""

    def drawn(self, width: int) -> Text:
        """Draw the first hits, and how many there are."""
        from rich.text import Text

        shown = self.hits[:_SHOWN]
        return Text("\n").join([*(hit.drawn(width) for hit in shown), Text(f"{len(shown):,} of {self.total:,} found")])


def _to_stderr(line: str) -> None:
    print(line, file=stderr)


def search(
    path: str | PathLike[str],
    query: str,
    *,
    limit: int = 20,
    run: str | None = None,
    tell: Callable[[str], None] = _to_stderr,
) -> Found:
    """Return up to `limit` texts that hold every word and "phrase" of `query`, newest run first.

    With `run`, an id, the beginning of one, or `last`, only its own.

    The first search makes an index beside the journal, `journal.db.words`, and later ones add what is new to it; the
    journal itself is only read. Where that cannot be, every text is looked through. `tell` gets a line where a search
    takes long or goes without its index.

    Raises UserError where `query` holds no word or more than 64, UnknownName for a run that there is not, and
    StoreError.
    """
    wanted = Wanted.of(query)
    with Store(fspath(path), readonly=True) as store:
        journal = Journal(store)
        key = None if run is None else journal.run(run).key
        found = StepWords(store, tell).find(wanted, limit, key)
        tried = cache(lambda key: _tried(journal, key))
        hits = tuple(_hit(text, wanted, *tried(text.run)) for text in found.texts)
    return Found(hits=hits, total=found.total)


def runs_with(path: str | PathLike[str], query: str, tell: Callable[[str], None] = _to_stderr) -> list[int]:
    """Return the journal's own numbers of the runs with such a text, newest first. Raises as `search`."""
    wanted = Wanted.of(query)
    with Store(fspath(path), readonly=True) as store:
        return StepWords(store, tell).runs(wanted)


def snippet(hit: Hit, room: int) -> Iterator[tuple[str, bool]]:
    """Yield what is around the first of the marks, at most about `room` letters on one line and made harmless, in
    pieces, each with whether it is marked."""
    first = hit.marks[0]
    begin = max(0, first[0] - max(room - (first[1] - first[0]), 0) // 3)
    end, place = begin + room, begin
    if begin:
        yield "…", False
    for start, stop in (*hit.marks, (end, end)):
        start, stop = max(start, place), min(max(stop, place), end)
        if place < start:
            yield _on_a_line(hit.text[place : min(start, end)]), False
        if start < stop:
            yield _on_a_line(hit.text[start:stop]), True
        place = max(place, stop)
        if place >= end:
            break
    if end < len(hit.text.rstrip()):
        yield "…", False


_Tried = dict[tuple[int, int, str], Attempt]


def _tried(journal: Journal, key: int) -> tuple[str, _Tried]:
    """Return a run's id and what was tried in it, by step, attempt and writer."""
    stored = journal.at(key)
    tried = candidates(stored, ancestors(journal, stored))
    return stored.run.id, {(each.step, each.attempt, each.writer): each for each in tried}


def _hit(text: StepText, wanted: Wanted, run: str, tried: _Tried) -> Hit:
    is_step = text.step is not None and text.attempt is not None
    attempt = tried.get((text.step, text.attempt, text.writer)) if is_step else None  # type: ignore[arg-type]
    return Hit(
        run=run,
        what=text.kind,
        step=text.step,
        attempt=text.attempt,
        writer=text.writer if is_step else None,
        verdict=attempt.verdict if attempt else None,
        text=text.text,
        marks=tuple(wanted.marks(text.text)),
    )


def _on_a_line(piece: str) -> str:
    return re.sub(r"\s+", " ", visible(piece))
