"""What the journal knows of behaviors: in how many runs each was shown and cited, and what came of those runs.

A handbook is known by its name: where two files are used beside one journal, call their handbooks differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from json import loads

from orchestrator.handbook.effect import Trial
from orchestrator.memory.journal import Journal
from orchestrator.runtime.recalling import CITED, RECALLED, recalled_in, was_right

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
    cited = {event.run: loads(event.detail)["cited"] for event in journal.events(CITED)}  # the last one of a run
    shown: dict[int, dict[str, int]] = {}
    among: dict[int, set[int]] = {}
    for event in journal.events(RECALLED):  # as plain data: a journal may hold many
        told = loads(event.detail)
        if told["handbook"] == handbook:
            ids = {each["name"]: each["id"] for each in told["behaviors"]}
            among.setdefault(event.run, set()).update(ids.values())
            hidden = ids.values() if told["is_withheld"] else told.get("left_out", ())
            shown.setdefault(event.run, {}).update({name: id for name, id in ids.items() if id not in hidden})
    found: dict[int, Tally] = {}
    for run, ids_among in among.items():
        names = shown[run]
        used = {names[name] for name in cited.get(run, ()) if name in names}
        for id in ids_among:
            tally = found.setdefault(id, Tally())
            is_shown = id in names.values()
            tally.shown, tally.held = tally.shown + is_shown, tally.held + (not is_shown)
            tally.cited += id in used
    return found


def trials(journal: Journal, handbook: str) -> Iterator[Trial]:
    """Yield the runs that recalled from a handbook of this name, and have ended.

    What a run recalls for its question is drawn by lot to be shown or not; what it recalls at later steps depends on
    what it was shown, so that counts for nothing here.
    """
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
