"""What a stored run did before its turn: the calls that were dropped, and the time that overlapping hid."""

from __future__ import annotations

from json import loads
from typing import NamedTuple

from orchestrator.memory.base import StoredRun
from orchestrator.runtime.calls import WRITING

__all__ = ["DROPPED", "Drop", "Hidden", "dropped", "hidden"]

DROPPED = "dropped"
"""Kind of the events that name calls begun ahead that no turn asked for."""


class Drop(NamedTuple):
    """Why a call was dropped."""

    number: int
    """Calls that were dropped together have the same one."""
    reason: str


class Hidden(NamedTuple):
    """What working before its turn did in one run."""

    taken: int
    """Calls that write, begun while another call of the run was under way, and not dropped."""
    dropped: int
    """Calls of any purpose that were begun ahead and dropped."""
    seconds: float
    """Wall time that was hidden: how much longer the calls that were not dropped would have taken one after another."""


def dropped(stored: StoredRun) -> dict[int, Drop]:
    """Return the calls of a run that were dropped, by number."""
    told = [loads(event.detail) for event in stored.events if event.kind == DROPPED]
    return {seq: Drop(number, each["reason"]) for number, each in enumerate(told) for seq in each["calls"]}


def hidden(stored: StoredRun) -> Hidden:
    """Return what working before its turn did; zeros for a run that did everything in its turn.

    Calls that a router asks side by side count as hidden time, too.
    """
    over = dropped(stored)
    calls = [(intent, result) for intent, result in stored.calls if result is not None and intent.seq not in over]
    taken, seconds, latest_s = 0, 0.0, 0.0
    for intent, result in sorted(calls, key=lambda call: call[0].started_s):
        ends_s = intent.started_s + result.seconds
        beside_s = max(0.0, min(latest_s, ends_s) - intent.started_s)
        taken += beside_s > 0 and result.status == "done" and intent.purpose in WRITING
        seconds += beside_s
        latest_s = max(latest_s, ends_s)
    return Hidden(taken, len(over), seconds)
