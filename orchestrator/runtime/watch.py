"""How is the run going?  Monitors are asked behind every kept step, and what they notice is acted on.

What can be seen in the history is seen at once. What has to be asked takes a turn of its own, `watch`, at the node of
the engine that wrote, so that a resumed run asks again exactly there. An action is looked at together with what came
of it: monitors are asked behind the observation.
"""

from __future__ import annotations

import asyncio
from json import dumps
from time import time
from typing import Any

from orchestrator.errors import EngineError, SignalUnavailable, UserError
from orchestrator.memory.base import EventRow
from orchestrator.monitors.base import Asking
from orchestrator.runtime.ask import DraftAsk
from orchestrator.runtime.decisions import check_engine, record
from orchestrator.runtime.interrupts import door
from orchestrator.runtime.run import WATCH, Forced, Run, Turn
from orchestrator.runtime.step import close_thought, discard, end, go_on, plan, roll_back
from orchestrator.types import (
    Conclude,
    Decision,
    Event,
    Handback,
    Handoff,
    Keep,
    Rollback,
    Step,
    StepKind,
    StopRun,
    conclude,
)

__all__ = ["RAISED", "UNHEARD", "advance", "hear", "heed"]

RAISED = "raised"
"""Key in the detail of an event's row that says which attempt of its step it was raised behind."""
UNHEARD = "unheard"
"""Kind of the event that says why a monitor had no answer."""


def advance(run: Run) -> str:
    """After a kept step: let monitors look, and go on; to a turn of watching where somebody has to be asked."""
    step = run.history.steps[-1]
    if step.kind is StepKind.ACTION:
        return go_on(run)
    run.noticed.clear()
    for monitor in run.monitors:
        if event := monitor.watch(run.history):
            _note(run, step, event)
            if event.ends_run:
                return end(run, None, event.reason)
    if run.asking or (run.noticed and _has_to_act(run)):
        attempt = run.first_attempts.get(len(run.history.steps), 0)
        run.turn = Turn(run.last_writer, WATCH, attempt, stands=True)
        return run.place
    return go_on(run)


def _has_to_act(run: Run) -> bool:
    return run.doors.on_events is not None or any(event.concludes for event in run.noticed)


def _note(run: Run, step: Step, event: Event) -> None:
    """Put an event into the history and the journal."""
    event = event._replace(step=step.index)
    run.noticed.append(event)
    run.history.events.append(event)
    if (step.index, event.kind) not in run.stored.events:
        detail: dict[str, Any] = {"reason": event.reason, RAISED: step.attempt}
        known = {"value": event.value, "threshold": event.threshold, "answer": event.answer}
        detail |= {name: value for name, value in known.items() if value is not None}
        run.journal.event(EventRow(run.key, step.index, event.kind, dumps(detail), time()))


async def heed(run: Run) -> str:
    """Ask the monitors that have to ask, act on everything that was noticed, and return the node to visit next."""
    assert run.turn is not None
    attempt, step = run.turn.attempt, run.history.steps[-1]
    ask = DraftAsk(run, run.scorers)
    for monitor in run.asking:
        if getattr(monitor, "is_late", False):
            run.late.append(asyncio.ensure_future(_look(run, monitor, ask)))
        elif event := await _look(run, monitor, ask):
            _note(run, step, event)
    if (place := _obeyed(run, attempt)) is not None:
        return place
    if run.noticed and run.doors.on_events is not None:
        return _react(run, attempt, await _decided(run, attempt, ask))
    return go_on(run)


async def _look(run: Run, monitor: Asking, ask: DraftAsk) -> Event | None:
    try:
        return await monitor.look(run.history, ask)
    except (SignalUnavailable, EngineError) as missing:
        index, name = len(run.history.steps) - 1, type(monitor).__name__
        if (index, UNHEARD) not in run.stored.events:
            why = dumps({"reason": f"{name}: {missing}"})
            run.journal.event(EventRow(run.key, index, UNHEARD, why, time()))
        return None


def _obeyed(run: Run, attempt: int) -> str | None:
    """Do what an event says by itself; None where none does."""
    for event in run.noticed:
        if event.ends_run:
            return end(run, None, event.reason)
        if event.concludes:
            _exit(run, attempt, event)
            return close_thought(run, attempt)
    return None


def _exit(run: Run, attempt: int, event: Event) -> None:
    """Record that the thought is closed because of an event, and how much had been thought."""
    if (len(run.history.steps), attempt, "exit") in run.stored.decisions:
        return
    margin = None if event.value is None or event.threshold is None else event.value - event.threshold
    thought = f"{event.kind} after {run.thinking.tokens} tokens of thought: {event.reason}"
    record(run, attempt, "exit", conclude(reason=thought, threshold=event.threshold, margin=margin))


async def hear(run: Run, turn: Turn, draft: Step) -> str | None:
    """Hear what late monitors have to say of the last kept step, now that `draft` is there.

    Returns None where the draft may stand, else the node to visit next: it is thrown away.
    """
    late, run.late = run.late, []
    run.noticed.clear()
    for event in await asyncio.gather(*late):
        if event is not None:
            _note(run, run.history.steps[-1], event)
    if not any(event.concludes or event.ends_run for event in run.noticed):
        return None
    run.first_attempts[draft.index] = draft.attempt + 1
    discard(run, run.call.leave(draft.index))
    return _obeyed(run, draft.attempt + 1)


async def _decided(run: Run, attempt: int, ask: DraftAsk) -> Decision:
    """Return what the router does about the events, and record it."""
    stored = run.stored.decisions.get((len(run.history.steps), attempt, "on_events"))
    if stored is not None:
        return stored
    assert run.doors.on_events is not None
    with door(run.doors.policy):
        decision = await run.doors.on_events(run.history, tuple(run.noticed), ask)
    if not isinstance(decision, Keep | Handoff | Handback | Rollback | Conclude | StopRun):
        raise UserError(
            f"{run.doors.policy} answered {decision!r} to events: return keep, handoff, handback, rollback, "
            "conclude or stop"
        )
    check_engine(run, getattr(decision, "engine", None))
    to_step = getattr(decision, "to_step", None)
    if to_step is not None and not 0 <= to_step < len(run.history.steps):
        last = len(run.history.steps) - 1
        raise UserError(f"{run.doors.policy} goes back from step {last} to {to_step}: give 0 to {last}")
    record(run, attempt, "on_events", decision)
    return decision


def _react(run: Run, attempt: int, decision: Decision) -> str:
    """Do what the router decided about events."""
    index = len(run.history.steps)
    match decision:
        case Handoff(engine=engine, until=until, turns=turns, note=note, to_step=to_step):
            if to_step is not None:
                roll_back(run, to_step, attempt)
                run.forced = Forced(engine, until, turns, to_step, note)
                return plan(run)
            run.forced = Forced(engine, until, turns, index, note)
        case Handback():
            run.forced, run.history.window = None, index
        case Conclude():
            return close_thought(run, attempt)
        case Rollback(to_step=to_step):
            roll_back(run, to_step, attempt)
            return plan(run)
        case StopRun(status=status, reason=reason):
            return end(run, status, reason)
    return go_on(run)
