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

from orchestrator.decisions import Conclude, Decision, Handback, Handoff, Keep, Rollback, StopRun, keep
from orchestrator.errors import EngineError, SignalUnavailable, UserError
from orchestrator.memory.base import EventRow
from orchestrator.monitors.base import Asking
from orchestrator.runtime.ask import DraftAsk, all_of
from orchestrator.runtime.closing import can_close, close_thought
from orchestrator.runtime.decisions import check_engine, forced_by, handing_over, record
from orchestrator.runtime.foreign import brought
from orchestrator.runtime.identity import policy_of
from orchestrator.runtime.interrupts import door
from orchestrator.runtime.lasting import reachable
from orchestrator.runtime.marks import LATE, RAISED, UNHEARD, UNHEEDED
from orchestrator.runtime.run import WATCH, Run, Turn
from orchestrator.runtime.step import discard, end, go_on, roll_back
from orchestrator.types import Event, History, Step, StepKind

__all__ = ["advance", "hear", "heed"]


def advance(run: Run) -> str:
    """After a kept step: let monitors look, and go on; to a turn of watching where somebody has to be asked."""
    step = run.history.steps[-1]
    if step.kind is StepKind.ACTION:
        return go_on(run)
    run.noticed, run.heard_late = run.heard_late, []
    for monitor in run.monitors:
        with brought(_name(monitor)):
            event = monitor.watch(run.history)
        if event:
            _note(run, monitor, step, event)
            if event.ends_run:
                return end(run, None, event.reason)
    if run.asking or (run.noticed and _has_to_act(run)):
        attempt = run.first_attempts.get(len(run.history.steps), 0)
        run.turn = Turn(run.last_writer, WATCH, attempt, stands=True)
        return run.place
    return go_on(run)


def _has_to_act(run: Run) -> bool:
    return run.doors.on_events is not None or any(event.concludes for event in run.noticed)


def _note(run: Run, monitor: Any, step: Step, event: Event, *, is_late: bool = False) -> None:
    """Put an event into the history and the journal."""
    if not isinstance(event, Event):
        raise UserError(f"{_name(monitor)} raised {event!r:.60}, not an Event")
    event = event._replace(step=step.index)
    if event.kind != UNHEARD:
        run.noticed.append(event)
        run.history.events.append(event)
    if run.stored.events[step.index, event.kind] > 0:  # an earlier session noted it
        run.stored.events[step.index, event.kind] -= 1
        return
    detail: dict[str, Any] = {"reason": event.reason, RAISED: step.attempt, **({LATE: True} if is_late else {})}
    if _is_unheeded(run, monitor, event):
        detail[UNHEEDED] = True
        who = _name(monitor)
        run.readings.told[who] = (
            f"{who} notices what {run.doors.policy} does nothing about: it is in the trace, no more"
        )
    known = {"value": event.value, "threshold": event.threshold, "answer": event.answer}
    detail |= {name: value for name, value in known.items() if value is not None}
    run.journal.event(EventRow(run.key, step.index, event.kind, dumps(detail), time()))
    run.tell(event)


def _name(monitor: Any) -> str:
    return f"monitor {policy_of(monitor).name}"


def _is_unheeded(run: Run, monitor: Any, event: Event) -> bool:
    kinds, heeds = getattr(monitor, "raises", None), run.doors.heeds
    is_for_router = event.kind != UNHEARD and (kinds is None or event.kind in kinds)
    is_heeded = run.doors.on_events is not None and (heeds is None or event.kind in heeds)
    return is_for_router and not is_heeded and not (event.ends_run or event.concludes)


async def heed(run: Run) -> str:
    """Ask the monitors that have to ask, act on everything that was noticed, and return the node to visit next."""
    assert run.turn is not None
    attempt, step, num_steps = run.turn.attempt, run.history.steps[-1], len(run.history.steps)
    ask = DraftAsk(run, run.scorers)
    late = [monitor for monitor in run.asking if getattr(monitor, "is_late", False)]
    for monitor in run.asking:
        if monitor not in late and (event := await _look(monitor, run.history, ask)):
            _note(run, monitor, step, event)
    place = _obeyed(run, attempt)
    if place is None and run.noticed and run.doors.on_events is not None:
        place = _react(run, attempt, await _decided(run, attempt, ask))
    place = go_on(run) if place is None else place
    goes_on = len(run.history.steps) == num_steps and run.turn is not None and run.turn.purpose == "draft"
    for monitor in late if goes_on else ():
        run.late.append(asyncio.ensure_future(_look_late(run, monitor, ask)))
    return place


async def _look(monitor: Asking, history: History, ask: DraftAsk) -> Event | None:
    try:
        with brought(_name(monitor)):
            return await monitor.look(history, ask)
    except (SignalUnavailable, EngineError) as missing:
        return Event(UNHEARD, f"{type(monitor).__name__}: {missing}")


async def _look_late(run: Run, monitor: Asking, ask: DraftAsk) -> tuple[Asking, Event | None]:
    """Look while the next step is written: nothing is added to the history before all that is late was heard."""
    return monitor, await _look(monitor, run.history, ask)


def _obeyed(run: Run, attempt: int) -> str | None:
    """Do what an event says by itself; None where none does."""
    for event in run.noticed:
        if event.ends_run:
            return end(run, None, event.reason)
        if event.concludes and can_close(run):
            margin = None if event.value is None or event.threshold is None else event.value - event.threshold
            why = f"{event.kind}: {event.reason}"
            return close_thought(run, attempt, why, answer=event.answer, threshold=event.threshold, margin=margin)
    return None


async def hear(run: Run, draft: Step) -> str | None:
    """Hear what late monitors have to say of the last kept step, now that `draft` is there.

    Returns None where the draft may stand, else the node to visit next: it is thrown away.
    """
    late, run.late, run.noticed = run.late, [], []
    for monitor, event in await all_of(late):
        if event is not None:
            _note(run, monitor, run.history.steps[-1], event, is_late=True)
    if not any(event.ends_run or (event.concludes and can_close(run)) for event in run.noticed):
        run.heard_late = run.noticed
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
    decision: Decision
    try:
        with door(run.doors.policy):
            decision = await run.doors.on_events(run.history, tuple(run.noticed), ask)
    except (SignalUnavailable, EngineError) as missing:
        decision = keep(reason=f"{missing}: nothing is done about it")
    decision = handing_over(run, _checked(run, decision))
    record(run, attempt, "on_events", decision)
    return decision


def _checked(run: Run, decision: Decision) -> Decision:
    """Return an answer to events as it can be carried out. Raises UserError for what is none."""
    index, policy = len(run.history.steps), run.doors.policy
    if not isinstance(decision, Keep | Handoff | Handback | Rollback | Conclude | StopRun):
        raise UserError(
            f"{policy} answered {decision!r:.60} to events: return keep, handoff, handback, rollback, conclude or stop"
        )
    check_engine(run, getattr(decision, "engine", None))
    if isinstance(decision, Rollback | Handoff) and decision.to_step is not None:
        if not 0 <= decision.to_step < index:
            raise UserError(f"{policy} rolls {index} steps back to {decision.to_step}: give 0 to {index - 1}")
        return reachable(run, decision)
    return decision


def _react(run: Run, attempt: int, decision: Decision) -> str | None:
    """Do what the router decided about events; None where the run goes on as it was."""
    index = len(run.history.steps)
    match decision:
        case Handoff(note=note, to_step=to_step):
            if to_step is not None:
                roll_back(run, to_step, attempt)
            run.forced = forced_by(decision, len(run.history.steps), note=note)
        case Handback():
            run.forced, run.history.window = None, index
        case Conclude() if can_close(run):
            return close_thought(run, attempt, decision.reason, threshold=decision.threshold, margin=decision.margin)
        case Rollback(to_step=to_step):
            roll_back(run, to_step, attempt)
        case StopRun(status=status, reason=reason):
            return end(run, status, reason)
    return None
