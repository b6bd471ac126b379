"""What the journal knows of behaviors: in how many runs each was shown and cited, and what came of those runs.

A handbook is known by its file and its name there: one that was moved is another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from json import loads

from orchestrator.handbook.effect import Trial
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.journal import Journal
from orchestrator.runtime.in_force import recalled_in
from orchestrator.runtime.marks import CITED, RECALLED
from orchestrator.runtime.opening import task_of
from orchestrator.runtime.recalling import is_from, was_right
from orchestrator.runtime.tasks import question_print

__all__ = ["Tally", "tallies", "trials"]


@dataclass(slots=True)
class Tally:
    """In how many runs a behavior was what. A fork is a run of its own, a branch of `collect --tree` is none."""

    shown: int = 0
    cited: int = 0
    held: int = 0
    """Recalled, and by lot not shown."""


def tallies(journal: Journal, handbook: Handbook) -> dict[int, Tally]:
    """Return a tally for the id of each behavior that runs recalled from a handbook."""
    cited = {event.run: loads(event.detail)["cited"] for event in journal.events(CITED)}  # the last one of a run
    is_ours = cache(partial(is_from, handbook))  # a journal holds many events of few files
    shown: dict[int, dict[str, int]] = {}
    among: dict[int, set[int]] = {}
    for event in journal.events(RECALLED):  # as plain data: a journal may hold many
        told = loads(event.detail)
        if is_ours(told["file"], told["handbook"]):
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


def trials(journal: Journal, handbook: Handbook) -> Iterator[Trial]:
    """Yield the runs that recalled from a handbook, and have ended.

    What a run recalls for its question is drawn by lot to be shown or not; what it recalls at later steps depends on
    what it was shown, so that counts for nothing here. Nor does a fork: it has its parent's lot, and its parent's text.
    """
    keys = {event.run for event in journal.events(RECALLED)}
    for each in journal.runs(limit=1 << 62):
        if each.key not in keys:
            continue
        stored = journal.run(each.id)
        recalled = recalled_in(stored)
        if recalled is None or stored.outcome is None or stored.run.parent is not None:
            continue
        if not is_from(handbook, recalled.file, recalled.handbook):
            continue
        used = loads(stored.outcome.ledger)
        yield Trial(
            question_print(task_of(stored)),
            tuple(behavior.id for behavior in recalled.behaviors),
            recalled.left_out,
            recalled.is_withheld,
            was_right(stored, journal.reward_of(stored.key)),
            sum(row["output_tokens"] for row in used),
            sum(row["prompt_tokens"] for row in used),
        )
