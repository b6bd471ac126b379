"""What the journal knows of behaviors: in how many runs each was shown and cited, and what came of those runs.

A handbook is known by its name: where two files are used beside one journal, call their handbooks differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from json import loads

from orchestrator.handbook.effect import Trial
from orchestrator.memory.base import EventRow
from orchestrator.memory.journal import Journal
from orchestrator.runtime.recalling import CITED, RECALLED, read, recalled_in, was_right

__all__ = ["Tally", "tallies", "trials"]


@dataclass(slots=True)
class Tally:
    """In how many runs a behavior was what. A fork is a run of its own."""

    shown: int = 0
    cited: int = 0
    held: int = 0
    """Recalled, and by lot not shown."""


def tallies(journal: Journal, handbook: str) -> dict[int, Tally]:
    """Return a tally for the id of each behavior that runs recalled from a handbook of this name."""
    recalled: dict[int, list[EventRow]] = {}
    for event in journal.events(RECALLED):
        recalled.setdefault(event.run, []).append(event)
    cited = {event.run: loads(event.detail)["cited"] for event in journal.events(CITED)}  # the last one of a run
    found: dict[int, Tally] = {}
    for run, events in recalled.items():
        sets = [each for each in map(read, events) if each.handbook == handbook]
        shown = {each.name: each.id for one in sets for each in one.shown}
        for id in {each.id for one in sets for each in one.behaviors}:
            tally = found.setdefault(id, Tally())
            tally.shown += id in shown.values()
            tally.held += id not in shown.values()
        for name in cited.get(run, ()):
            if name in shown:
                found[shown[name]].cited += 1
    return found


def trials(journal: Journal, handbook: str) -> Iterator[Trial]:
    """Yield the runs that recalled from a handbook of this name, and have ended."""
    keys = {event.run for event in journal.events(RECALLED)}
    for each in journal.runs(limit=1 << 62):
        if each.key not in keys:
            continue
        stored = journal.run(each.id)
        recalled = recalled_in(stored)
        if recalled is None or recalled.handbook != handbook or stored.outcome is None:
            continue
        used = loads(stored.outcome.ledger)
        yield Trial(
            tuple(behavior.id for behavior in recalled.behaviors),
            recalled.left_out,
            recalled.is_withheld,
            was_right(stored, journal.reward_of(stored.key)),
            sum(row["output_tokens"] for row in used),
            sum(row["prompt_tokens"] for row in used),
        )
