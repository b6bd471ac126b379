"""The timeline of a run that is going on, row by row: what is new since it was looked at last.

The rows are those of `timeline`, each told once, when its candidate's fate is known. What is told of it later, such as
that the run went back behind it, is a line of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from orchestrator.memory.base import StoredRun
from orchestrator.runtime.attempts import Attempt
from orchestrator.runtime.colours import engine_colours
from orchestrator.runtime.heading import begun, ended, field_lines, title
from orchestrator.runtime.paper import MIN_WIDTH, laid_out
from orchestrator.runtime.remarks import Remark, remarks
from orchestrator.runtime.rows import row, titles
from orchestrator.runtime.timeline import beneath, between, candidates
from orchestrator.traces.step import OF_A_CANDIDATE
from orchestrator.visible import first_words

__all__ = ["Tail"]


class Tail:
    """One run as it goes on; `width` is that of a line, in columns. Ask for what is new as lines, or as objects."""

    def __init__(self, stored: StoredRun, ancestors: Sequence[StoredRun], width: int) -> None:
        self._ancestors = ancestors
        self._width = width
        self._colours = engine_colours(stored)
        self._told: dict[tuple[str, int], str] = {}

    def beginning(self, stored: StoredRun) -> Text:
        """Return what stands above the rows, without how the run ended."""
        name = Text(f"run {stored.run.id}", "bold")
        return laid_out([name, *field_lines(begun(stored), stored, self._room), Text(), titles()], self._width)

    def news(self, stored: StoredRun, *, is_over: bool) -> Text | None:
        """Return the rows that are new, None for none; with `is_over` also those whose fate nobody will know."""
        lines = [line for told in self._news(stored, is_over) for line in self._lines(*told)]
        return laid_out(lines, self._width) if lines else None

    def objects(self, stored: StoredRun, *, is_over: bool) -> Iterator[dict[str, Any]]:
        """Yield the same as plain data: candidates, told again where their verdict changes, and remarks."""
        for item, _ in self._news(stored, is_over):
            if isinstance(item, Remark):
                yield {"run": stored.run.id, "remark": item.what, "reason": item.reason}
            else:
                yield {"run": stored.run.id, **{name: getattr(item, name) for name in OF_A_CANDIDATE}}

    def end(self, stored: StoredRun) -> Text:
        """Return what stands below the rows: how the run ended, and its ledger."""
        lines = [Text(), title(stored), *field_lines(ended(stored), stored, self._room), *beneath(stored, self._room)]
        return laid_out(lines, self._width)

    @property
    def _room(self) -> int:
        return max(self._width, MIN_WIDTH)

    def _news(self, stored: StoredRun, is_over: bool) -> Iterator[tuple[Attempt | Remark, str | None]]:
        """Yield what is new, and what was told of it before, None for nothing."""
        tried = candidates(stored, self._ancestors)
        standing = len(stored.kept())
        seen: Counter[str] = Counter()
        for item in between(tried, remarks(stored, tried)):
            if isinstance(item, Attempt) and item.verdict == "unfinished" and item.step >= standing and not is_over:
                return  # what was begun behind it waits: rows come in order
            name, verdict = _named(item)
            seen[name] += 1
            before = self._told.get((name, seen[name]))
            self._told[name, seen[name]] = verdict
            if before != verdict:
                yield item, before

    def _lines(self, item: Attempt | Remark, before: str | None) -> Iterator[Text]:
        if before is None:
            yield from row(item, self._room, self._colours)
        else:
            name, verdict = _named(item)
            yield Text(f"  -- {first_words(name, self._room)}: {before} above, now {verdict}", "bold")


def _named(item: Attempt | Remark) -> tuple[str, str]:
    """Return what tells an item from others, and what may change about it."""
    if isinstance(item, Remark):
        return f"{item.what}: {item.reason}", ""
    return f"step {item.step} by {item.writer}{f', attempt {item.attempt}' if item.attempt else ''}", item.verdict
