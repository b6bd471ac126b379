"""A stored run as a timeline: who wrote each step, how it was rated, what was thrown away, what it cost.

    run 06bk2v5x7q3m9d1p  completed  3 steps  large wrote 41% of tokens  2.1 s
    ...
        #  writer  verdict    score  threshold  margin  tokens     ms  reason
        0  small   kept         8.0        7.0    +1.0      34    120  rated high enough
              First, compute 38*4 = 152.
        1  small   x rejected   3.0        7.0    -4.0      28     98  rated too low
              | Then 98*6 = 580.
        1  large   kept           -          -       -      31    310  written without asking

Every text of an engine or a stranger is made harmless first. Nothing depends on colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from json import loads
from typing import TypeVar

from rich.text import Text

from orchestrator.memory.base import EventRow, StoredRun
from orchestrator.runtime.attempts import Attempt, attempts
from orchestrator.runtime.colours import engine_colours
from orchestrator.runtime.counterfactuals import counterfactuals_of
from orchestrator.runtime.fork import FORKED
from orchestrator.runtime.heading import heading
from orchestrator.runtime.hidden import DROPPED
from orchestrator.runtime.ledger_lines import ledger_lines
from orchestrator.runtime.marks import CITED, RECALLED
from orchestrator.runtime.only import Only, chosen
from orchestrator.runtime.paper import MIN_WIDTH, laid_out
from orchestrator.runtime.remarks import Remark, remarks, told_between
from orchestrator.runtime.rows import row, titles
from orchestrator.visible import first_words

__all__ = ["beneath", "between", "candidates", "timeline", "untold"]

_Candidate = TypeVar("_Candidate")

COUNTERFACTUAL = "counterfactual"


def timeline(
    stored: StoredRun, ancestors: Sequence[StoredRun] = (), *, width: int = 80, only: Only | None = None
) -> Text:
    """Return the whole timeline as one text whose lines have at most `width` columns.

    It is laid out for 60 columns at least; where there are fewer, lines go on in the next one. `ancestors`, oldest
    first, are the runs it was forked from; the ledger is that of the run alone. With `only` all but those steps are
    left out, and how many is said.
    """
    tried = candidates(stored, ancestors)
    items, left_out = list(between(tried, remarks(stored, tried))), ""
    if only is not None:
        items, left_out = chosen(only, items, stored)
    room, colours = max(width, MIN_WIDTH), engine_colours(stored)
    lines = [*heading(stored, room), Text(), titles()]
    lines += [line for item in items for line in row(item, room, colours)]
    lines += [Text(f"     {left_out}", "dim")] if left_out else []
    return laid_out([*lines, *beneath(stored, room)], width)


def between(tried: Sequence[_Candidate], said: Sequence[Remark]) -> Iterator[_Candidate | Remark]:
    """Yield the candidates with the remarks in their places."""
    left = list(reversed(said))
    for place, each in enumerate(tried):
        while left and left[-1].place <= place:
            yield left.pop()
        yield each
    yield from reversed(left)


def beneath(stored: StoredRun, width: int) -> Iterator[Text]:
    """Yield what is said below the steps: events that are told nowhere else, and the ledger."""
    for event, why in untold(stored):
        line = f"     event at step {event.step}: {event.kind}{f': {why}' if why else ''}"
        yield Text("     " + first_words(line, width - 5), "dim")
    yield from ledger_lines(stored)


def candidates(stored: StoredRun, ancestors: Sequence[StoredRun] = ()) -> list[Attempt]:
    """Return what was tried; a step that was only written to be compared says so."""
    told = counterfactuals_of(stored)
    return [
        each._replace(reason=COUNTERFACTUAL)
        if told and each.verdict == "not taken" and told.is_sampled(each.step)
        else each
        for each in attempts(stored, ancestors)
    ]


def untold(stored: StoredRun) -> Iterator[tuple[EventRow, str]]:
    """Yield the events that are not told between the steps or above them, each with its reason, "" where it has none.

    A fork begins, though it is opened as a resumed run is.
    """
    before = ""
    for event in stored.events:
        is_begun, before = before == FORKED and event.kind == "resumed", event.kind
        is_told = event.kind in (DROPPED, CITED) or (event.kind == RECALLED and event.step == 0)
        if not (is_begun or is_told or told_between(event.kind, event.detail)):
            yield event, loads(event.detail).get("reason", "") if event.detail else ""
