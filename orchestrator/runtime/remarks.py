"""What a stored run has to say between its steps: what monitors noticed and what was decided about it, and the mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from json import loads
from typing import NamedTuple

from orchestrator.memory.base import DecisionRow, StoredRun
from orchestrator.runtime.attempts import STOOD, Attempt
from orchestrator.runtime.marks import AGAIN, MODE, RAISED, RECALLED, UNHEARD, UNHEEDED, plain
from orchestrator.visible import counted

__all__ = ["Remark", "is_aside", "remarks", "told_between"]

ASIDE = (MODE, AGAIN, "on_events", "exit", "handover")
"""Doors of decisions that are about no candidate of a step."""
_UNHEEDED = "; nothing is done about it"
_SAYS = {"handback": "handed back", "conclude": "thought closed", "stop": "stop", "keep": "went on"}


class Remark(NamedTuple):
    """A line between candidates of steps."""

    place: int
    """How many candidates stand before it."""
    what: str
    """In a few words: `stuck`, `to large`, `mode no_think`, ..."""
    reason: str


def told_between(kind: str, detail: str) -> bool:
    """Say whether an event is told between the steps, and not at the end."""
    mark = "attempt" if kind == RECALLED else RAISED
    return kind == UNHEARD or (bool(detail) and mark in loads(detail))


def is_aside(door: str) -> bool:
    """Say whether a decision at this door is about no candidate of a step."""
    return door in ASIDE or door.startswith("approval")


def remarks(stored: StoredRun, tried: Sequence[Attempt]) -> list[Remark]:
    """Return everything that is said between the candidates, in order; events before decisions."""
    places: dict[int, list[int]] = {}
    for place, each in enumerate(tried):
        places.setdefault(each.step, []).append(place)
    said = (*_recalled(stored, tried, places), *_noticed(stored, tried, places), *_decided(stored, tried, places))
    return sorted(said, key=lambda each: each.place)


def _recalled(stored: StoredRun, tried: Sequence[Attempt], places: Mapping[int, list[int]]) -> Iterator[Remark]:
    """Yield what is shown from a step on, before its first candidate that is shown it."""
    for event in stored.events:
        if told_between(event.kind, event.detail) and event.kind == RECALLED:
            detail = loads(event.detail)
            of_step = [
                place for place in places.get(event.step, ()) if plain(tried[place].attempt) >= detail["attempt"]
            ]
            yield Remark(min(of_step, default=len(tried)), RECALLED, detail["reason"])


def _noticed(stored: StoredRun, tried: Sequence[Attempt], places: Mapping[int, list[int]]) -> Iterator[Remark]:
    for event in stored.events:
        if told_between(event.kind, event.detail) and event.kind != RECALLED:
            detail = loads(event.detail)
            about = [place for place in places.get(event.step, ()) if tried[place].attempt == detail.get(RAISED, 0)]
            reason = detail["reason"] + (_UNHEEDED if UNHEEDED in detail else "")
            yield Remark(max(about, default=len(tried) - 1) + 1, event.kind, reason)


def _decided(stored: StoredRun, tried: Sequence[Attempt], places: Mapping[int, list[int]]) -> Iterator[Remark]:
    """Yield what was decided behind a kept step: the first one after all earlier attempts at the next.

    What was decided before a run went back stands before everything that came of it.
    """
    went_back = 0
    for row in stored.decisions:
        if is_aside(row.door):
            earlier = [place for place in places.get(row.step, ()) if plain(tried[place].attempt) < row.attempt]
            start = max(max(earlier, default=-1) + 1, went_back)
            kept = [place for place in places.get(row.step - 1, ()) if tried[place].verdict in STOOD]
            behind = next((place + 1 for place in kept if place >= start), start)
            went_back = behind if "to_step" in row.detail else went_back
            yield Remark(behind, _said(row), row.reason)


def _said(row: DecisionRow) -> str:
    detail = loads(row.detail) if row.detail else {}
    match row.action:
        case "mode":
            return f"mode {detail['name']}"
        case "handoff":
            turns = f" for {counted(detail['turns'], 'turn')}" if detail.get("turns") else ""
            return f"to {row.engine}{turns}"
        case "rollback":
            return f"back to step {detail['to_step']}"
        case "approve" | "deny" if "tool" in detail:
            return f"{row.action} {detail['tool']}"
    return _SAYS.get(row.action, row.action)
