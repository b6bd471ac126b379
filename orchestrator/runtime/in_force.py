"""What of a stored run is in force: what its texts begin with, its mode, its failovers, what was noticed and shown."""

from __future__ import annotations

from collections.abc import Sequence
from json import loads
from typing import NamedTuple

from orchestrator.behaviors import Behavior
from orchestrator.handbook.recall import Recalled
from orchestrator.memory.base import REMOVED, DecisionRow, EventRow, StoredRun
from orchestrator.runtime.marks import AGAIN, LEAD, MODE, RAISED, RECALLED, UNHEARD

__all__ = ["Lead", "failovers", "leads_of", "mode_of", "noticed", "read", "recalled_in"]


class Lead(NamedTuple):
    """What a policy put at the start of a step."""

    text: str
    ids: Sequence[int]
    """In the tokenizer of the step's writer."""


def leads_of(stored: StoredRun) -> dict[tuple[int, int], Lead]:
    """Return what the texts of candidates start with, by step and attempt."""
    told = [(event.step, loads(event.detail)) for event in stored.events if event.kind == LEAD]
    return {(step, each["attempt"]): Lead(each["text"], each["ids"]) for step, each in told}


def mode_of(stored: StoredRun) -> DecisionRow | None:
    """Return the decision by which a run is in its mode, None where it is in none."""
    first, again = (next((row for row in stored.decisions if row.door == door), None) for door in (MODE, AGAIN))
    return first if first is None or again is None or again.detail == first.detail else again


def failovers(stored: StoredRun) -> list[DecisionRow]:
    """Return the failovers behind steps that stand: each step is the attempt next to its failover's.

    A failed run that is tried again takes the step in hand from its first attempt. Where the engine that
    failed then writes after all, the attempt next to its own is no longer the failover's.
    """
    written = {row[1:3] for row in stored.decisions if row.door == "after_draft"}
    written.update(row[1:3] for row in stored.steps if row.kind != REMOVED)
    taken_over = {(row.step, row.attempt - 1) for row in stored.kept()} - written
    return [row for row in stored.decisions if row.door == "runtime" and row[1:3] in taken_over]


def noticed(stored: StoredRun) -> list[EventRow]:
    """Return what monitors noticed behind steps that stand."""
    attempts = {row.step: row.attempt for row in stored.kept()}
    raised = [(row, loads(row.detail) if row.detail else {}) for row in stored.events if row.kind != UNHEARD]
    return [row for row, detail in raised if RAISED in detail and detail[RAISED] == attempts.get(row.step)]


def recalled_in(stored: StoredRun) -> Recalled | None:
    """Return what a stored run was shown for its question; None where no handbook was beside it, or it had not come
    to that."""
    return next((read(event) for event in stored.events if event.kind == RECALLED), None)


def read(event: EventRow) -> Recalled:
    """Return what an event says that a run was shown."""
    told = loads(event.detail)
    known = {name: told[name] for name in Recalled._fields if name in told}
    behaviors = tuple(Behavior(**each) for each in told["behaviors"])
    return Recalled(**{**known, "behaviors": behaviors, "left_out": tuple(told.get("left_out", ()))})
