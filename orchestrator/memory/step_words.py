"""Full-text search over all runs, by an index beside the journal that whoever searches brings up to date.

The journal is only read, so no writer waits, and the index is written in batches: a search that is killed leaves what
it has done. Several may search at once. What is new is found by how far each run had come when it was looked at; a
journal that was pruned, or put in the place of another one, is indexed anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from time import monotonic
from typing import NamedTuple, TypeVar

from orchestrator.memory.step_texts import RUN_BITS, Progress, StepText, progress_of, text_of, texts_of
from orchestrator.memory.store import Store
from orchestrator.memory.wanted import Wanted, indexed
from orchestrator.memory.words_file import Unindexed, WordsFile, discard_words, words_path

__all__ = ["FoundTexts", "StepWords"]

_BATCH_RUNS = 500
_CHUNK_RUNS = 20
_BATCH_CHARS = 8_000_000
"""Of texts in a batch, give or take those of one chunk of runs."""
_TOLD_RUNS = 5000
"""Runs to index that are worth a line to whoever waits."""
_TOLD_EVERY_S = 5.0
_BEHIND = 1 << 40
"""Larger than any step."""

_IDENTITY = """
    SELECT (SELECT max(number) FROM prunings), (SELECT id FROM runs ORDER BY key LIMIT 1),
        (SELECT id FROM runs WHERE key = ?)
"""
_NEW = "SELECT key FROM runs WHERE key > ? ORDER BY key"
_CLAIMED = "SELECT run FROM claims WHERE run <= ?"
_TOLD = "SELECT (SELECT count(*) FROM events WHERE run <= :last) + (SELECT count(*) FROM outcomes WHERE run <= :last)"
_TOLD_BY_RUN = """
    SELECT run, count(*) FROM (SELECT run FROM events UNION ALL SELECT run FROM outcomes) WHERE run <= ? GROUP BY run
"""
_LAST = "SELECT coalesce(max(run), 0) FROM runs"
_TOLD_THEN = "SELECT coalesce(sum(told), 0) FROM runs"
_KNOWN = "SELECT run, seq, open, n, told, has_ended FROM runs"
_BEST = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT ?"
_COUNT = "SELECT count(*) FROM words WHERE words MATCH ?"
_RUNS = f"SELECT DISTINCT rowid >> {RUN_BITS} FROM words WHERE words MATCH ? ORDER BY rowid DESC"
_ADD = "INSERT INTO words (rowid, text) VALUES (?, ?)"
_KNOW = "INSERT OR REPLACE INTO runs (run, seq, open, n, told, has_ended) VALUES (?, ?, ?, ?, ?, ?)"


class FoundTexts(NamedTuple):
    """What a search found."""

    texts: list[StepText]
    """Newest first."""
    total: int
    """How many there are."""


T = TypeVar("T")


class StepWords:
    """The words of one journal. `told` gets a line where a search takes long, or goes without its index."""

    def __init__(self, store: Store, told: Callable[[str], None]) -> None:
        self._store = store
        self._told = told

    def find(self, wanted: Wanted, limit: int, run: int | None = None) -> FoundTexts:
        """Return up to `limit` texts that hold what is wanted, newest run first; those of `run` if one is given."""
        if run is not None:
            return _first(self._looked_through(wanted, [run]), limit)
        found = self._indexed(lambda file: self._found(file, wanted, limit))
        return found or _first(self._looked_through(wanted, self._runs()), limit)

    def runs(self, wanted: Wanted) -> list[int]:
        """Return the numbers of the runs with such a text, newest first."""
        found = self._indexed(lambda file: [run for (run,) in file.rows(_RUNS, [wanted.expression()])])
        if found is not None:
            return found
        return list(dict.fromkeys(text.run for text in self._looked_through(wanted, self._runs())))

    def _found(self, file: WordsFile, wanted: Wanted, limit: int) -> FoundTexts:
        expression = wanted.expression()
        (total,) = file.rows(_COUNT, [expression])[0]
        numbers = [number for (number,) in file.rows(_BEST, [expression, limit])]
        with self._store.reading() as journal:
            texts = [text for number in numbers if (text := text_of(journal, number)) and wanted.marks(text.text)]
        return FoundTexts(_in_order(texts), total)

    # ---- without the index

    def _runs(self) -> Sequence[int]:
        with self._store.reading() as journal:
            return [run for (run,) in journal.execute(_NEW, (0,))][::-1]

    def _looked_through(self, wanted: Wanted, runs: Sequence[int]) -> Iterator[StepText]:
        """Yield what a look at every text of these runs finds."""
        for run in runs:
            with self._store.reading() as journal:
                texts = [*texts_of(journal, run, run)]
            yield from _in_order(text for text in texts if wanted.marks(text.text))

    # ---- the index, brought up to date

    def _indexed(self, ask: Callable[[WordsFile], T], *, is_again: bool = False) -> T | None:
        """Return what the index answers, or None, and a line said, if there is none to be had."""
        try:
            with closing(WordsFile(self._store.path)) as file:
                self._catch_up(file)
                return ask(file)
        except Unindexed as error:
            if error.is_damaged and not is_again and discard_words(self._store.path):
                self._told(f"{words_path(self._store.path)} is damaged and is made anew; the journal is whole")
                return self._indexed(ask, is_again=True)
            self._told(f"looking through every text instead of an index: {error}")
            return None

    def _catch_up(self, file: WordsFile) -> None:
        behind = self._behind(file)
        if behind and file.is_readonly:
            raise Unindexed(f"{file.path} is not up to date: give write access to it and its folder")
        if len(behind) >= _TOLD_RUNS:
            self._told(f"indexing {len(behind):,} runs, once: later searches add what is new")
        told_s, whole = monotonic(), len(behind)
        while behind:
            num_done = self._add(file, behind[:_BATCH_RUNS])
            behind = behind[num_done:] if num_done else self._behind(file)  # none: the journal is another one since
            if behind and monotonic() - told_s > _TOLD_EVERY_S:
                told_s = monotonic()
                self._told(f"indexing: {1 - len(behind) / max(whole, len(behind)):.0%}")

    def _behind(self, file: WordsFile) -> list[int]:
        """Return the runs that have come further than the index, oldest first; all if it is of another journal."""
        with self._store.reading() as journal:
            if not _is_of(file, journal):
                self._begin(file, journal)
            (last,) = file.rows(_LAST)[0]
            claimed = {run for (run,) in journal.execute(_CLAIMED, (last,))}
            known = [Progress(*row) for row in file.rows(f"{_KNOWN} WHERE NOT has_ended")]
            known += [
                Progress(*row) for run in claimed for row in file.rows(f"{_KNOWN} WHERE run = ? AND has_ended", [run])
            ]
            now = [progress_of(journal, each.run) for each in known]
            behind = {each.run for each, before in zip(now, known, strict=True) if each != before}
            (told,) = journal.execute(_TOLD, {"last": last}).fetchone()
            more = sum(each.told - before.told for each, before in zip(now, known, strict=True))
            if told != file.rows(_TOLD_THEN)[0][0] + more:  # some went on after their end
                then = dict(file.rows("SELECT run, told FROM runs"))
                behind |= {run for run, number in journal.execute(_TOLD_BY_RUN, (last,)) if then[run] != number}
            return [*sorted(behind), *(run for (run,) in journal.execute(_NEW, (last,)))]

    def _begin(self, file: WordsFile, journal: sqlite3.Connection) -> None:
        if file.is_readonly:
            raise Unindexed(f"{file.path} is of another journal and may not be written: give write access to it")
        with file.writing():
            if not _is_of(file, journal):  # another process may have done it while we waited
                file.clear()
                file.rows("INSERT INTO about VALUES (?, ?, ?)", _identity(journal, 0))

    def _add(self, file: WordsFile, runs: Sequence[int]) -> int:
        """Bring the index up to date with the first of these runs and return how many that is."""
        with file.writing(), self._store.reading() as journal:
            if not _is_of(file, journal):
                return 0
            num_done = num_chars = 0
            while num_done < len(runs) and num_chars < _BATCH_CHARS:
                chunk = runs[num_done : num_done + _CHUNK_RUNS]
                num_chars += _add_chunk(file, journal, chunk)
                num_done += len(chunk)
            file.rows("UPDATE about SET last = ?", _identity(journal, file.rows(_LAST)[0][0])[2:])
            return num_done


def _add_chunk(file: WordsFile, journal: sqlite3.Connection, runs: Sequence[int]) -> int:
    """Index what the runs have said since, and return how long that is."""
    marks = ", ".join("?" * len(runs))
    known = {row[0]: Progress(*row) for row in file.rows(f"{_KNOWN} WHERE run IN ({marks})", runs)}
    now = [progress_of(journal, run) for run in runs]
    changed = {each.run: known.get(each.run) for each in now if each != known.get(each.run)}
    texts = [
        (text.number, indexed(text.text))
        for first, last in _spans(sorted(changed))
        for text in texts_of(journal, first, last)
        if (before := changed[text.run]) is None or not before.holds(text)
    ]
    file.add(_ADD, sorted(texts))
    file.add(_KNOW, [each for each in now if each.run in changed])
    return sum(len(text) for _, text in texts)


def _spans(runs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last of runs that follow each other."""
    begin = 0
    for place, run in enumerate(runs):
        if place + 1 == len(runs) or runs[place + 1] != run + 1:
            yield runs[begin], run
            begin = place + 1


def _identity(journal: sqlite3.Connection, last: int) -> tuple[object, ...]:
    """Return what tells a journal from others, and from what it was before it was pruned."""
    found: tuple[object, ...] = journal.execute(_IDENTITY, (last,)).fetchone()
    return found


def _is_of(file: WordsFile, journal: sqlite3.Connection) -> bool:
    return file.rows("SELECT generation, first, last FROM about") == [_identity(journal, file.rows(_LAST)[0][0])]


def _in_order(texts: Iterable[StepText]) -> list[StepText]:
    """Return texts newest run first, of a run the last step first; one of each candidate."""
    by_place = {(text.run, text.kind, text.step, text.attempt): text for text in sorted(texts)}

    def place(text: StepText) -> tuple[int, ...]:
        step = {"question": -1, "answer": _BEHIND}.get(text.kind, text.step or 0)
        return text.run, step, text.attempt or 0

    return sorted(by_place.values(), key=place, reverse=True)


def _first(texts: Iterator[StepText], limit: int) -> FoundTexts:
    found = [*islice(texts, limit)]
    return FoundTexts(found, len(found) + sum(1 for _ in texts))
