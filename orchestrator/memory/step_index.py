"""The index of the words of all runs, brought up to date with the journal in batches.

What is new is found by how far each run had come when it was looked at. A journal that was pruned, or put in the place
of another one, is indexed anew. A process that is killed leaves what it has done, and several may do this at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from orchestrator.memory.step_texts import Progress, progress_of, texts_of
from orchestrator.memory.store import Store
from orchestrator.memory.wanted import indexed
from orchestrator.memory.words_file import Unindexed, WordsFile

__all__ = ["CatchUp"]

_BATCH_RUNS = 500
_CHUNK_RUNS = 20
_BATCH_CHARS = 8_000_000
"""Of texts in a batch, give or take those of one chunk of runs."""
_TOLD_RUNS = 5000
"""Runs to index that are worth a line to whoever waits."""
_TOLD_EVERY_S = 5.0
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
_ADD = "INSERT INTO words (rowid, text) VALUES (?, ?)"
_KNOW = "INSERT OR REPLACE INTO runs (run, seq, open, n, told, has_ended) VALUES (?, ?, ?, ?, ?, ?)"


class CatchUp:
    """Brings the index of one journal up to date. `tell` gets a line where that takes long."""

    def __init__(self, store: Store, tell: Callable[[str], None]) -> None:
        self._store = store
        self._tell = tell

    def __call__(self, file: WordsFile) -> None:
        """Index what is new. Raises Unindexed where that cannot be."""
        behind = self._behind(file)
        if behind and file.is_readonly:
            raise Unindexed(f"{file.path} is not up to date: give write access to it and its folder")
        if len(behind) >= _TOLD_RUNS:
            self._tell(f"indexing {len(behind):,} runs, once: later searches add what is new")
        told_s, whole = monotonic(), len(behind)
        while behind:
            num_done = self._add(file, behind[:_BATCH_RUNS])
            behind = behind[num_done:] if num_done else self._behind(file)  # none: the journal is another one since
            if behind and monotonic() - told_s > _TOLD_EVERY_S:
                told_s = monotonic()
                self._tell(f"indexing: {1 - len(behind) / max(whole, len(behind)):.0%}")

    def _behind(self, file: WordsFile) -> list[int]:
        """Return the runs that have come further than the index, oldest first; all if it is of another journal."""
        with self._store.reading() as journal:
            is_same = _is_of(file, journal)
        if not is_same:
            self._begin(file)
        with self._store.reading() as journal:
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
                behind |= {run for run, number in journal.execute(_TOLD_BY_RUN, (last,)) if then.get(run) != number}
            return [*sorted(behind), *(run for (run,) in journal.execute(_NEW, (last,)))]

    def _begin(self, file: WordsFile) -> None:
        if file.is_readonly:
            raise Unindexed(f"{file.path} is of another journal and may not be written: give write access to it")
        with file.writing(), self._store.reading() as journal:
            if not _is_of(file, journal):  # another process may have gone on while we waited
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
