"""What did a stored run ask its router, in order, and what did it know when it asked?

The journal keeps what was answered; what was asked follows from the drafts. Every draft that nobody had forced was
planned. A router is asked about it unless it failed or was cut off, and about events where it has the door.
"""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from typing import Any, NamedTuple

from orchestrator.decisions import Plan
from orchestrator.memory.base import REMOVED, DecisionRow, StepRow
from orchestrator.runtime.fork import inherited
from orchestrator.runtime.marks import AGAIN, MODE, RAISED, UNHEARD
from orchestrator.traces.by_place import Place, Record, mode_in
from orchestrator.types import Event, History, Step, StepKind

__all__ = ["AFTER_DRAFT", "BEFORE_STEP", "ON_EVENTS", "Question", "questions"]

BEFORE_STEP, AFTER_DRAFT, ON_EVENTS = "before_step", "after_draft", "on_events"
"""The doors of a router."""


class Question(NamedTuple):
    """One visit of a door. Its history is the run's at that moment, and is changed when the next one is asked for.

    Tokens of thought are those of whole steps: the journal does not keep where in a step a thought ended.
    """

    door: str
    place: Place
    history: History
    draft: Step | None = None
    """Of after_draft."""
    events: tuple[Event, ...] = ()
    """Of on_events."""
    row: DecisionRow | None = None
    """What was answered, as stored; None for a plan that told nothing new."""
    plan: Plan | None = None
    """What was planned, of before_step; its logprobs are not stored and 0 here. None where the router ended the run."""


def questions(record: Record) -> Iterator[Question]:
    """Yield what the run asked its router, without what a fork began with or what is before a step taken to stand."""
    since = -1 if record.instead is None else record.instead.index
    return (question for question in _Walk(record).questions() if question.place[0] > since)


class _Walk:
    def __init__(self, record: Record) -> None:
        self._record = record
        self._history = record.history()
        self._rows: Iterator[StepRow] = iter(record.stored.steps)
        self._events = _noticed(record)
        self._planned: tuple[int | None, bool] = None, False
        self._handoff: DecisionRow | None = None

    def questions(self) -> Iterator[Question]:
        record = self._record
        for row in record.stored.decisions:
            place, is_own = (row.step, row.attempt), (row.step, row.attempt) in record.drafts
            match row.door:
                case "before_step" if row.action == "stop":
                    yield self._about(row)
                case "before_step":
                    detail = loads(row.detail) if row.detail else {}
                    self._planned = detail.get("max_tokens"), detail.get("whole", False)
                case "after_draft" if is_own and (draft := record.step(place)) is not None:
                    yield from self._begin(place)
                    yield self._about(row, draft=draft)
                case "runtime" if is_own and not self._is_forced(row.step):
                    yield from self._begin(place)
                case "on_events":
                    yield from self._on_events(row)
                case "mode" | "reconsider":
                    self._history.mode = mode_in(row)
            self._carry_out(row)
        last = next(reversed(record.drafts), None)
        if last is not None and self._is_left(last) and not self._is_forced(last[0]):
            yield from self._begin(last)

    def _is_left(self, place: Place) -> bool:
        """Return whether a draft came to nothing that anybody was asked about: the run ended, or was cut off, in it."""
        kept = {(row.step, row.attempt) for row in self._record.stored.steps}
        told = {(*place, door) for door in (AFTER_DRAFT, "runtime")}
        return place not in kept and not told & self._record.decisions.keys()

    def _is_forced(self, step: int) -> bool:
        """Return whether the run is in somebody's hands, so that nobody is asked."""
        if self._handoff is None:
            return False
        until = loads(self._handoff.detail or "{}").get("until")
        return until is None or step < until

    def _about(self, row: DecisionRow, **what: Any) -> Question:
        self._advance(row.step)
        return Question(row.door, (row.step, row.attempt), self._history, row=row, **what)

    def _begin(self, place: Place) -> Iterator[Question]:
        """Yield what is asked before a draft: events that the run's router has no door for, and the plan."""
        self._advance(place[0])
        if not any(key[0] == place[0] and key[2] == ON_EVENTS for key in self._record.decisions):
            last = len(self._history.steps) - 1
            if events := tuple(each for each in self._history.events if each.step == last):
                yield Question(ON_EVENTS, place, self._history, events=events)
        yield self._plan(place)

    def _plan(self, place: Place) -> Question:
        row = self._record.decisions.get((*place, BEFORE_STEP))
        detail = loads(row.detail) if row is not None and row.detail else {}
        max_tokens, whole = self._planned
        engine = self._record.drafts[place].engine
        plan = Plan(engine, max_tokens, reason=row.reason if row else "", whole=whole, lead=detail.get("lead", ""))
        return Question(BEFORE_STEP, place, self._history, row=row, plan=plan)

    def _on_events(self, row: DecisionRow) -> Iterator[Question]:
        self._advance(row.step)
        last = self._history.steps[-1] if self._history.steps else None
        if last is None or not self._is_own(row):
            return
        events = tuple(each for each in self._history.events if each.step == last.index)
        yield Question(ON_EVENTS, (row.step, row.attempt), self._history, events=events, row=row)

    def _is_own(self, row: DecisionRow) -> bool:
        """Return whether the run asked it itself: what it began with as a fork, its parent had asked."""
        stored = self._record.stored
        return row.step >= len(inherited(stored)) or any(each.kind == REMOVED for each in stored.steps)

    def _carry_out(self, row: DecisionRow) -> None:
        """Do what a decision does to the history, and remember whether the run is in somebody's hands."""
        detail = loads(row.detail) if row.detail and row.action in ("handoff", "rollback") else {}
        if row.action == "handoff" and row.door != "runtime":
            self._handoff = row
        elif row.action == "handback":
            self._handoff, self._history.window = None, row.step
        elif row.door == AFTER_DRAFT:
            self._handoff = None  # who is asked is not forced
        turned = row.door == AGAIN and row.detail != self._first_mode()
        if "to_step" in detail or turned:
            self._advance(row.step)
            self._go_back()

    def _first_mode(self) -> str:
        return next((row.detail for row in self._record.stored.decisions if row.door == MODE), "")

    def _advance(self, num_steps: int) -> None:
        """Let steps stand until there are so many."""
        while len(self._history.steps) < num_steps:
            if (row := next(self._rows, None)) is None:
                return
            self._stand(row)

    def _go_back(self) -> None:
        """Take away what the next removal takes."""
        for row in self._rows:
            self._stand(row)
            if row.kind == REMOVED:
                return

    def _stand(self, row: StepRow) -> None:
        history = self._history
        for step in history.steps[row.step :]:
            self._count(step, -1)
        del history.steps[row.step :]
        if row.kind == REMOVED:
            history.events = [event for event in history.events if event.step < row.step]
            history.window = min(history.window, row.step)
            return
        kept = self._record.standing(row)
        history.steps.append(kept)
        self._count(kept, 1)
        history.events += self._events.get((row.step, row.attempt), [])

    def _count(self, step: Step, times: int) -> None:
        self._history.num_tokens += times * step.num_tokens
        if step.kind is StepKind.THOUGHT:
            self._history.thought_tokens += times * step.num_tokens


def _noticed(record: Record) -> dict[Place, list[Event]]:
    """Return what monitors noticed, by the place of the step behind which they did."""
    found: dict[Place, list[Event]] = {}
    for row in record.stored.events:
        detail = loads(row.detail) if row.detail else {}
        if RAISED not in detail or row.kind == UNHEARD:
            continue
        known: dict[str, Any] = {name: detail.get(name) for name in ("value", "threshold", "answer")}
        event = Event(row.kind, detail["reason"], step=row.step, **known)
        found.setdefault((row.step, detail[RAISED]), []).append(event)
    return found
