"""The texts of the journal that people search: what was asked, every candidate, every kept step, the answer.

Each has a number made of its run and the row that holds it. Rows are never rewritten, so neither is what a number
stands for, whatever a run that goes on adds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from orchestrator.memory.base import REMOVED
from orchestrator.memory.opening import damaged
from orchestrator.memory.texts import Texts

__all__ = ["RUN_BITS", "Progress", "StepText", "progress_of", "run_of", "text_of", "texts_of"]

_BITS = 22
"""Of a row's number in its run."""
RUN_BITS = _BITS + 2
"""Of a text's number, behind those of its run."""
_QUESTION, _CANDIDATE, _STEP, _ANSWER = range(4)
_WRITING = ("draft", "rewrite", "alternative", "answer")
_KINDS = {_QUESTION: "question", _CANDIDATE: "step", _STEP: "step", _ANSWER: "answer"}

_ASKED = """
    SELECT key, 0, NULL, NULL, NULL, task FROM runs WHERE key BETWEEN :first AND :last
"""
_WRITTEN = """
    SELECT i.run, i.seq, i.step, i.attempt, i.engine, r.text
    FROM intents i JOIN results r ON r.run = i.run AND r.seq = i.seq
    WHERE i.run BETWEEN :first AND :last AND i.purpose IN ({purposes})
"""
_KEPT = """
    SELECT s.run, s.n, s.step, s.attempt, s.writer, s.text FROM steps s
    WHERE s.run BETWEEN :first AND :last AND s.kind IS NOT :removed
"""
_ANSWERED = """
    SELECT run, n, NULL, NULL, NULL, answer FROM outcomes WHERE run BETWEEN :first AND :last AND answer NOT NULL
"""
_SELECTS = {_QUESTION: _ASKED, _CANDIDATE: _WRITTEN, _STEP: _KEPT, _ANSWER: _ANSWERED}
_NUMBERED = {
    _QUESTION: " AND 0 = :row",
    _CANDIDATE: " AND i.seq = :row",
    _STEP: " AND s.n = :row",
    _ANSWER: " AND n = :row",
}


_PROGRESS = """
    SELECT :run, coalesce((SELECT max(seq) FROM intents WHERE run = :run), -1),
        coalesce((SELECT group_concat(seq) FROM intents i WHERE run = :run AND NOT EXISTS
            (SELECT 1 FROM results r WHERE r.run = i.run AND r.seq = i.seq)), ''),
        coalesce((SELECT max(n) FROM (SELECT max(n) AS n FROM steps WHERE run = :run
            UNION ALL SELECT max(n) FROM outcomes WHERE run = :run)), -1),
        (SELECT count(*) FROM events WHERE run = :run) + (SELECT count(*) FROM outcomes WHERE run = :run),
        EXISTS (SELECT 1 FROM outcomes WHERE run = :run)
"""


class Progress(NamedTuple):
    """How far a run has come."""

    run: int
    seq: int
    """Of its newest call, -1 if there is none, and likewise below."""
    open: str
    """Calls up to that one without a result, comma-separated."""
    n: int
    """Of its newest step or outcome."""
    told: int
    """Its events and outcomes: a run that goes on after its end has one more."""
    has_ended: int

    def holds(self, text: StepText) -> bool:
        """Return whether it had come as far as `text`, one of its own."""
        kind, row = text.number >> _BITS & 3, text.number & (1 << _BITS) - 1
        if kind == _CANDIDATE:
            return row <= self.seq and str(row) not in self.open.split(",")
        return kind == _QUESTION or row <= self.n


class StepText(NamedTuple):
    """One text of a run."""

    number: int
    run: int
    """The journal's own number of the run."""
    kind: str
    """`question`, `step` (a candidate, kept or not, or what tools answered) or `answer`."""
    step: int | None
    """None where it is of no step, and likewise below."""
    attempt: int | None
    writer: str
    """An engine, a tool, or empty."""
    text: str


def texts_of(connection: sqlite3.Connection, first: int, last: int) -> Iterator[StepText]:
    """Yield the texts of the runs numbered `first` to `last`; a step kept as it was written is one of them."""
    written: dict[tuple[int, int | None, int | None], list[str]] = {}
    for kind, select in _SELECTS.items():
        for text in _rows(connection, kind, select, first, last):
            place = text.run, text.step, text.attempt
            if kind == _CANDIDATE:
                written.setdefault(place, []).append(text.text)
            elif kind == _STEP and any(text.text.strip() in each for each in written.get(place, ())):
                continue
            yield text


def text_of(connection: sqlite3.Connection, number: int) -> StepText | None:
    """Return the text of this number, or None if there is none."""
    run, kind, row = run_of(number), number >> _BITS & 3, number & (1 << _BITS) - 1
    return next(_rows(connection, kind, _SELECTS[kind] + _NUMBERED[kind], run, run, row), None)


def run_of(number: int) -> int:
    """Return the run that the text of this number is of."""
    return number >> RUN_BITS


def progress_of(connection: sqlite3.Connection, run: int) -> Progress:
    """Return how far a run has come."""
    return Progress(*connection.execute(_PROGRESS, {"run": run}).fetchone())


def _rows(
    connection: sqlite3.Connection, kind: int, select: str, first: int, last: int, row: int = 0
) -> Iterator[StepText]:
    texts = Texts()
    find, read = texts.find, cache(lambda number: texts.read(connection, number))
    purposes = [str(find(connection, purpose) or 0) for purpose in _WRITING] if "{purposes}" in select else []
    given = {"first": first, "last": last, "removed": find(connection, REMOVED), "row": row}
    for run, at, step, attempt, writer, said in connection.execute(select.format(purposes=", ".join(purposes)), given):
        text, number = texts.read(connection, said), (run << 2 | kind) << _BITS | at
        by = "" if writer is None else read(writer)
        yield StepText(number, run, _KINDS[kind], step, attempt, by, text if kind else _asked(text))


def _asked(task: str) -> str:
    """Return what people asked; what a system prompt says is the same in every run."""
    try:
        messages = json.loads(task)["messages"]
        asked = [content for role, content in messages if role == "user"]
        return "\n\n".join(asked) or messages[-1][1]
    except (LookupError, TypeError, ValueError):
        raise damaged("a task holds no messages") from None
