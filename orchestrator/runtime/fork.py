"""Go back to an earlier step of a stored run: the run stays as it is and another one, its child, goes on from there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from json import dumps, loads
from time import time
from typing import Any

from orchestrator.errors import UserError
from orchestrator.memory.base import REMOVED, DecisionRow, EventRow, RunRow, StepRow, StoredRun
from orchestrator.memory.ids import derived
from orchestrator.memory.journal import Journal
from orchestrator.runtime.calls import TOOL
from orchestrator.runtime.in_force import failovers, mode_of, noticed
from orchestrator.runtime.marks import AGAIN, MODE, RECALLED
from orchestrator.types import Step, StepKind

__all__ = ["FORKED", "ancestors", "branch", "branch_id", "fork", "inherited", "origins"]

FORKED = "forked"
_INSTEAD = "instead"
"""In the detail of FORKED: the last step that a branch begins with is one that its parent did not keep."""


def fork(
    journal: Journal, stored: StoredRun, to_step: int, *, settings: str, engines: str, once: Collection[str] = ()
) -> str:
    """Store a child of `stored` that begins with its first `to_step` kept steps, and return the child's id.

    Asked for again under the same settings it is the same child, so a graph that is entered twice
    repeats no call. The child's ledger is its own: the steps it begins with were paid for by its
    parent. It stays in the mode it is in, with what monitors had noticed. A hand-over in force at that
    step goes on; under other settings it ends: the router is asked anew. What tools did behind that step
    is not taken back, and a call that is asked for again is made again; the event names those among `once`,
    which are not idempotent.

    Raises UserError if `to_step` is below 0.
    """
    if to_step < 0:
        raise UserError(f"run {stored.run.id} cannot be entered at step {to_step}: steps count from 0")
    child = derived(stored.run.id, str(to_step), settings)
    row = stored.run._replace(id=child, parent=stored.run.id, batch="", settings=settings, engines=engines)
    kept = stored.kept()[:to_step]
    return _begin(journal, stored, row, kept, to_step, _again(stored, to_step, once))


def branch(journal: Journal, stored: StoredRun, other: Step, *, batch: str) -> str:
    """Store a child of `stored` that stands on `other`, a candidate that it did not keep; return the child's id.

    It begins with the kept steps before that one. Settings are the same, and so are the draws: it goes on as the run
    would have behind that step. Asked for again it is the same child.
    """
    child, index = branch_id(stored, other), other.index
    row = stored.run._replace(id=child, parent=stored.run.id, batch=batch)
    written = (other.kind.value, other.writer, other.text, other.stop.value, other.num_tokens, other.seconds)
    kept = [*stored.kept()[:index], StepRow(stored.key, index, other.attempt, *written)]
    told = {_INSTEAD: other.attempt, "reason": f"step {index} is {other.writer}'s, which that run did not keep"}
    return _begin(journal, stored, row, kept, index + 1, told)


def branch_id(stored: StoredRun, other: Step) -> str:
    """Return the id of the branch of `stored` that stands on `other`, whether there is one or not."""
    return derived(stored.run.id, "branch", str(other.index), str(other.attempt))


def _begin(
    journal: Journal, stored: StoredRun, child: RunRow, kept: Sequence[StepRow], to_step: int, told: dict[str, Any]
) -> str:
    """Store a child that begins with the steps `kept`, and what is in force behind them; return its id."""
    begun, parent = journal.stored(child.id), stored.run
    if begun is not None and any(row.kind == FORKED for row in begun.events):
        return child.id
    key = begun.key if begun else journal.open_run(child._replace(created_s=time()))
    places = {(row.step, row.attempt) for row in kept}
    for decision in failovers(stored):
        if (decision.step, decision.attempt + 1) in places:  # it stays degraded
            journal.decision(decision._replace(run=key))
    if to_step and (mode := mode_of(stored)) is not None:  # its steps were written in it
        journal.decision(mode._replace(run=key, step=0, attempt=int(mode.door == AGAIN), door=MODE))
    for decision in _in_force(stored, to_step, goes_on=child.settings == parent.settings):
        journal.decision(decision._replace(run=key))
    for event in stored.events:
        if event.kind == RECALLED and event.step < max(to_step, 1):  # its steps were written in sight of it
            journal.event(event._replace(run=key))
    for event in noticed(stored):
        if event.step < to_step - 1:  # behind the last one monitors look again
            journal.event(event._replace(run=key))
    for step in kept:
        journal.step(step._replace(run=key))
    journal.event(EventRow(key, to_step, FORKED, dumps({"parent": parent.id, **told}), time()))
    journal.commit(key)
    journal.release(key)  # whoever opens it claims it
    return child.id


def _again(stored: StoredRun, to_step: int, once: Collection[str]) -> dict[str, Any]:
    """Return the tools among `once` that were called behind a step, and what is to be said of them."""
    called = {intent.engine for intent, _ in stored.calls if intent.purpose == TOOL and intent.step >= to_step}
    for row in inherited(stored)[to_step:]:  # those calls are an ancestor's
        called.update(row.writer.split(",") if row.kind == StepKind.OBSERVATION else ())
    if not (again := sorted(called.intersection(once))):
        return {}
    return {"again": again, "reason": f"{', '.join(again)} may be called again, though not idempotent"}


def _in_force(stored: StoredRun, to_step: int, *, goes_on: bool) -> list[DecisionRow]:
    """Return the decisions of before `to_step` that shape what comes behind it, in the order they were made in.

    From the last return on monitors look; with `goes_on` steps are written as it was planned last, by whom the run was
    handed to.
    """
    standing: dict[str, DecisionRow] = {}
    for row in stored.decisions:
        detail = loads(row.detail) if row.detail else {}
        goes_back, since = "to_step" in detail, detail.pop("to_step", row.step)
        if since >= to_step or row.door == "runtime":
            continue
        if goes_back:
            standing.pop("handoff", None)
            if "handback" in standing:
                standing["handback"] = standing["handback"]._replace(step=min(standing["handback"].step, since))
        if row.action == "handback":
            standing.pop("handoff", None)
        if row.action == "handback" or (goes_on and row.action in ("plan", "handoff")):
            standing.pop(row.action, None)
            standing[row.action] = row._replace(step=since, detail=dumps(detail) if detail else "")
    return list(standing.values())


def ancestors(journal: Journal, stored: StoredRun) -> list[StoredRun]:
    """Return the runs that `stored` was forked from, oldest first; the calls behind its first steps are theirs."""
    found: list[StoredRun] = []
    while (parent := (found[0] if found else stored).run.parent) is not None:
        found.insert(0, journal.run(parent))
    return found


def inherited(stored: StoredRun) -> Sequence[StepRow]:
    """Return the steps that `stored` began with as a fork; none where it is no fork."""
    begun_with = next((event.step for event in stored.events if event.kind == FORKED), 0)
    return stored.steps[:begun_with]  # they were written before anything else


def origins(stored: StoredRun, ancestors: Sequence[StoredRun]) -> dict[tuple[int, int], str]:
    """Return the id of the run that wrote a step, by its index and attempt; `ancestors` are oldest first."""
    found: dict[tuple[int, int], str] = {}
    for each in (*ancestors, stored):
        own = each.steps[len(inherited(each)) :]
        found.update({(row.step, row.attempt): each.run.id for row in own if row.kind != REMOVED})
        if each.run.parent is not None and any(
            row.kind == FORKED and _INSTEAD in loads(row.detail) for row in each.events
        ):
            other = inherited(each)[-1]
            found[other.step, other.attempt] = each.run.parent
    return found
