"""What would stand if one decision had been the other one, if somebody wrote it, and what that one step costs."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.decisions import Decision, Keep, Plan, Rewrite, StopRun
from orchestrator.ledger import Entry
from orchestrator.runtime.calls import WRITING, entry_of
from orchestrator.runtime.marks import BAND, plain
from orchestrator.traces.asked import AFTER_DRAFT, Question
from orchestrator.traces.by_place import Place, Record
from orchestrator.types import Step, Stop

__all__ = ["beside", "ends", "other_step", "saved", "written"]


def other_step(record: Record, question: Question, made: Decision | Plan) -> Step | None:
    """Return the step that would stand; None where nobody wrote it. A draft that was thrown away is one, and so is an
    alternative, which has the text that a rewrite would have had."""
    if question.door != AFTER_DRAFT:
        return None
    if isinstance(made, Keep | StopRun):
        return question.draft
    if not isinstance(made, Rewrite) or made.max_tokens is not None:
        return None
    return record.step(beside(record, question.place, made.engine))


def beside(record: Record, place: Place, engine: str) -> Place:
    """Return where the first alternative of an engine to the draft at a place is."""
    return place[0], BAND * (1 + record.writers.index(engine)) + plain(place[1])


def written(record: Record, place: Place) -> Mapping[str, Entry]:
    """Return what was spent on writing a candidate, by engine."""
    found: dict[str, Entry] = {}
    for intent, result in record.calls(place):
        if intent.purpose in WRITING and result is not None:
            found.setdefault(intent.engine, Entry()).add(entry_of(result))
    return found


def saved(record: Record, question: Question) -> Mapping[str, Entry]:
    """Return what the step that was written in a draft's place has cost, by engine: a kept draft would have saved it.

    Nothing where it was written beside the draft, and adopted: a policy that asks for that pays it all the same.
    """
    step, attempt = question.place
    return written(record, (step, attempt + 1))


def ends(record: Record, step: Step, made: Decision | Plan) -> bool:
    """Return whether a run is over behind a step that would stand: then nothing else has to be known of it.

    Not where tools, a mode or a policy that heeds events could still go on.
    """
    if isinstance(made, StopRun):
        return True
    return step.stop is Stop.END and not {"tools", "mode"} & record.settings.keys()
