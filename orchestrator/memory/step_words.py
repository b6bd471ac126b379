"""Full-text search over all runs, by an index beside the journal that whoever searches brings up to date.

The journal is only read, so no writer waits. Where there can be no index, every text is looked through, and that is
said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple, TypeVar

from orchestrator.memory.step_index import CatchUp
from orchestrator.memory.step_texts import RUN_BITS, StepText, text_of, texts_of
from orchestrator.memory.store import Store
from orchestrator.memory.wanted import Wanted
from orchestrator.memory.words_file import Unindexed, WordsFile, discard_words, words_path

__all__ = ["FoundTexts", "StepWords"]

_BEHIND = 1 << 40
"""Larger than any step."""

_ALL = "SELECT key FROM runs ORDER BY key DESC"
_BEST = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT ?"
_COUNT = "SELECT count(*) FROM words WHERE words MATCH ?"
_RUNS = f"SELECT DISTINCT rowid >> {RUN_BITS} FROM words WHERE words MATCH ? ORDER BY rowid DESC"


class FoundTexts(NamedTuple):
    """What a search found."""

    texts: list[StepText]
    """Newest first."""
    total: int
    """How many there are."""


T = TypeVar("T")


class StepWords:
    """The words of one journal. `tell` gets a line where a search takes long, or goes without its index."""

    def __init__(self, store: Store, tell: Callable[[str], None]) -> None:
        self._store = store
        self._tell = tell

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
            return [run for (run,) in journal.execute(_ALL)]

    def _looked_through(self, wanted: Wanted, runs: Sequence[int]) -> Iterator[StepText]:
        """Yield what a look at every text of these runs finds."""
        for run in runs:
            with self._store.reading() as journal:
                texts = [*texts_of(journal, run, run)]
            yield from _in_order(text for text in texts if wanted.marks(text.text))

    # ---- with it

    def _indexed(self, ask: Callable[[WordsFile], T], *, is_again: bool = False) -> T | None:
        """Return what the index answers, or None, and a line said, if there is none to be had."""
        try:
            with closing(WordsFile(self._store.path)) as file:
                CatchUp(self._store, self._tell)(file)
                return ask(file)
        except Unindexed as error:
            if error.is_removed and not is_again:
                return self._indexed(ask, is_again=True)
            if error.is_damaged and not is_again and discard_words(self._store.path):
                self._tell(f"{words_path(self._store.path)} is damaged and is made anew; the journal is whole")
                return self._indexed(ask, is_again=True)
            self._tell(f"looking through every text instead of an index: {error}")
            return None


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
