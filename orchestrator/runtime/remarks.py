"""What a stored run has to say between its steps: what monitors noticed and what was decided about it, and the mode."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from typing import NamedTuple

from orchestrator.memory.base import DecisionRow, StoredRun
from orchestrator.runtime.moding import AGAIN, MODE
from orchestrator.runtime.watch import RAISED, UNHEARD

__all__ = ["Remark", "remarks", "told_between"]

ASIDE = (MODE, AGAIN, "on_events", "exit", "handover")
"""Doors of decisions that are about no candidate of a step."""
_SAYS = {"handback": "handed back", "conclude": "thought closed", "stop": "stop", "keep": "went on"}


class Remark(NamedTuple):
    """A line before a step."""

    step: int
    what: str
    """In a few words: `stuck`, `to large`, `mode no_think`, ..."""
    reason: str


def told_between(kind: str, detail: str) -> bool:
    """Say whether an event is told between the steps, and not at the end."""
    return kind == UNHEARD or (bool(detail) and RAISED in loads(detail))


def remarks(stored: StoredRun) -> list[Remark]:
    """Return everything that is said between steps, by the step that it stands before; events before decisions."""
    noticed = [
        Remark(event.step + 1, event.kind, loads(event.detail)["reason"])
        for event in stored.events
        if told_between(event.kind, event.detail)
    ]
    return sorted([*noticed, *_decided(stored)], key=lambda each: each.step)


def _decided(stored: StoredRun) -> Iterator[Remark]:
    for row in stored.decisions:
        if row.door in ASIDE or row.door.startswith("approval"):
            yield Remark(row.step, _said(row), row.reason)


def _said(row: DecisionRow) -> str:
    detail = loads(row.detail) if row.detail else {}
    match row.action:
        case "mode":
            return f"mode {detail['name']}"
        case "handoff":
            turns = f" for {_turns(detail['turns'])}" if detail.get("turns") else ""
            return f"to {row.engine}{turns}"
        case "rollback":
            return f"back to step {detail['to_step']}"
    return _SAYS.get(row.action, row.action)


def _turns(number: int) -> str:
    return f"{number} turn{'' if number == 1 else 's'}"
