"""The loop body: draft, measure, route, record. One call is one visit of an engine's node.

Every function here is idempotent on (run, step, attempt): calls, signals and decisions that the
journal already holds are taken from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from json import dumps
from time import time
from typing import Any

from orchestrator.errors import (
    ContextExceeded,
    EngineError,
    EngineRejected,
    LimitExceeded,
    SignalUnavailable,
    UnknownName,
    UserError,
)
from orchestrator.memory.base import REMOVED, DecisionRow, EventRow, StepRow
from orchestrator.runtime.alternative import Adopt, adopting, alternative, plain
from orchestrator.runtime.ask import DraftAsk
from orchestrator.runtime.calls import Booked
from orchestrator.runtime.interrupts import door
from orchestrator.runtime.run import ANSWER, Decided, Ending, Kept, Run, Turn
from orchestrator.runtime.write import write
from orchestrator.types import (
    Decision,
    Handoff,
    Keep,
    Plan,
    Rewrite,
    Rollback,
    Status,
    Step,
    StepKind,
    Stop,
    StopRun,
    keep,
    rewrite,
)

__all__ = ["CONSTANT", "advance", "decide", "end", "plan", "rewriting", "settle", "take_turn"]

CLOSED = "the reasoning was closed"
ENDED = "the engine ended its text"
CONSTANT = "constant"
"""Kind of the event that says that a scorer, or a prediction, reads the same again and again."""
_KEPT = keep(reason="written without asking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(Decision):
    """What the journal keeps of a Plan that gives a reason."""

    action = "plan"
    engine: str
    max_tokens: int | None = None
    logprobs: int = 0
    whole: bool = False
    lead: str = ""
    features: tuple[float, ...] = ()


async def take_turn(run: Run, engine: str) -> str:
    """Let `engine` write, route what it wrote, and return the node to visit next.

    A visit that is not due (the step was taken before) does nothing but say where the run is. What a
    step wrote to the journal is committed with the intent of the next call, before that is sent.
    """
    turn = run.turn
    if turn is None or turn.engine != engine:
        return run.place
    passed = run.stored.decisions.get((len(run.history.steps), turn.attempt, "runtime"))
    if isinstance(passed, Handoff):
        return pass_on(run, turn, passed)
    try:
        place = await _take(run, turn)
    except BaseException:
        if run.ahead is not None:
            await run.ahead.abandon()
        await run.call.cut_off()
        raise
    if run.ahead is not None and run.ending is not None:
        await run.ahead.rest()
    return place


async def _take(run: Run, turn: Turn) -> str:
    try:
        async with in_time(run):
            if run.ahead is not None:
                await run.ahead.join(turn)
            draft = await write(run, turn)
            if run.ahead is not None and not turn.stands:
                await run.ahead.go_on(turn, draft)
            decision = _KEPT if turn.stands else await decide(run, draft)
        return carry_out(run, turn, draft, decision)
    except LimitExceeded as limit:
        return end(run, Status.BUDGET, str(limit))
    except ContextExceeded as full:
        return end(run, Status.BUDGET, str(full)) if run.history.steps else fail(run, full)
    except EngineRejected as refused:
        return fail(run, refused)
    except EngineError as error:
        return fail_over(run, turn, error)


@asynccontextmanager
async def in_time(run: Run) -> AsyncIterator[None]:
    """Cut off whatever a turn does when the run's time is up: rendering and measuring as well as writing.

    Raises LimitExceeded then.
    """
    remaining_s = run.spender.remaining_s()
    if remaining_s is None:
        yield
        return
    try:
        async with asyncio.timeout(remaining_s):
            yield
    except TimeoutError:
        run.spender.remaining_s()  # raises LimitExceeded, unless somebody else's clock ran out
        raise


async def decide(run: Run, draft: Step) -> Decision:
    """Return what the router says about `draft`, and record it."""
    stored = run.stored.decisions.get((draft.index, draft.attempt, "after_draft"))
    if stored is not None:
        return stored
    try:
        with door(run.doors.policy):
            decision = await run.doors.after_draft(run.history, draft, DraftAsk(run, run.scorers))
    except (SignalUnavailable, EngineError) as missing:
        decision = unmeasured(run, draft, missing)
    if not isinstance(decision, Decision):
        raise UserError(f"{run.doors.policy} answered {decision!r}, not a decision: return keep(), rewrite(...), ...")
    _check_engine(run, getattr(decision, "engine", None))
    if isinstance(decision, Rollback) and not 0 <= decision.to_step <= draft.index:
        raise UserError(
            f"{run.doors.policy} rolls step {draft.index} back to {decision.to_step}: give 0 to {draft.index}"
        )
    decision = adopting(run, draft, decision)
    record(run, draft.attempt, "after_draft", decision)
    return decision


def unmeasured(run: Run, draft: Step, missing: SignalUnavailable | EngineError) -> Decision:
    """Return what happens to a draft whose router did not say what to do without what it asked for.

    That is a signal, or an alternative.
    """
    if draft.writer == run.history.large:
        return keep(reason=f"{missing}: kept, it is the large engine's")
    return rewrite(run.history.large, reason=f"{missing}: rejected")


def _check_engine(run: Run, engine: str | None) -> None:
    if engine is not None and engine not in run.samplings:
        raise UnknownName(f"{run.doors.policy} chose engine {engine!r}; the pipeline has {', '.join(run.samplings)}")


def record(run: Run, attempt: int, door: str, decision: Decision) -> None:
    """Write a decision to the journal's next transaction, and what it was decided by if that tells nothing apart."""
    for signal in decision.signals:
        if signal.value is not None and (why := run.readings.count(signal.name, signal.value)):
            run.journal.event(EventRow(run.key, len(run.history.steps), CONSTANT, dumps({"reason": why}), time()))
    run.journal.decision(
        DecisionRow(
            run.key,
            len(run.history.steps),
            attempt,
            door,
            decision.action,
            getattr(decision, "engine", ""),
            decision.reason,
            decision.threshold,
            decision.margin,
            ",".join(decision.alternatives),
            run.doors.policy,
            _detail(decision),
        )
    )


def _detail(decision: Decision) -> str:
    match decision:
        case Keep() | Handoff(until=None) | StopRun(status=None):
            return ""
        case Adopt(max_tokens=max_tokens, attempt=attempt):
            return dumps({"max_tokens": max_tokens, "attempt": attempt})
        case Rewrite(max_tokens=max_tokens):
            return "" if max_tokens is None else dumps({"max_tokens": max_tokens})
        case Handoff(until=until, failed=failed):
            return dumps({"until": until, "failed": failed} if failed else {"until": until})
        case StopRun(status=status):
            return dumps({"status": status})
        case Rollback(to_step=to_step):
            return dumps({"to_step": to_step})
        case Planned(max_tokens=max_tokens, logprobs=logprobs, whole=whole, lead=lead, features=features):
            said: dict[str, Any] = {"max_tokens": max_tokens, "logprobs": logprobs, "whole": whole}
            said = said if any(said.values()) or lead else {}
            said |= {"lead": lead} if lead else {}
            said |= {"features": [float(each) for each in features]} if features else {}
            return dumps(said) if said else ""
    return ""


def carry_out(run: Run, turn: Turn, draft: Step, decision: Decision) -> str:
    """Do what was decided and return the node to visit next."""
    if not turn.stands:
        run.verdicts.append(isinstance(decision, Keep | StopRun))
        if run.ahead is not None:
            run.ahead.decided(turn, decision)
        if run.listeners:
            run.tell(Decided(draft, decision))
    match decision:
        case Adopt(engine=engine):
            run.turn = alternative(run, draft, engine, 0)
        case Rewrite(engine=engine, max_tokens=max_tokens):
            run.turn = rewriting(turn, draft, engine, max_tokens)
        case Handoff(engine=engine, until=until):
            run.forced = (engine, until)
            run.turn = rewriting(turn, draft, engine)._replace(whole=False)
        case Rollback(to_step=to_step):
            roll_back(run, to_step, draft)
            return plan(run)
        case StopRun(status=status, reason=reason):
            keep_step(run, draft)
            return end(run, status, reason)
        case _:
            keep_step(run, draft)
            return advance(run)
    return run.place


def rewriting(turn: Turn, draft: Step, engine: str, max_tokens: int | None = None) -> Turn:
    """Return the turn in which `engine` writes in the place of `draft`, which `turn` wrote."""
    limit = turn.max_tokens if max_tokens is None else max_tokens
    return Turn(
        engine,
        "rewrite",
        draft.attempt + 1,
        limit,
        turn.rewrite_logprobs,
        stands=True,
        whole=turn.whole,
        lead=turn.lead,
    )


def keep_step(run: Run, step: Step) -> None:
    """Let `step` stand: in the history, in every later prompt, and on disk."""
    run.history.steps.append(step)
    run.history.num_tokens += step.num_tokens
    run.stream.keep(step)
    run.written.append(run.call.take((step.index, step.attempt)))
    discard(run, run.call.leave(step.index))
    run.alternatives.clear()
    run.failed_engines.clear()
    run.journal.step(
        StepRow(
            run.key,
            step.index,
            step.attempt,
            step.kind.value,
            step.writer,
            step.text,
            step.stop.value,
            step.num_tokens,
            step.seconds,
        )
    )
    if run.listeners:
        run.journal.commit(run.key)
        run.tell(Kept(step))


def discard(run: Run, calls: Iterable[Booked]) -> None:
    """Book writing `calls` as discarded: their text does not stand."""
    for engine, purpose, entry in calls:
        run.ledger.discard(engine, purpose, entry)


def roll_back(run: Run, to_step: int, draft: Step) -> None:
    """Throw away the kept steps from `to_step` on."""
    if run.ahead is not None:
        run.ahead.forget("the run went back")
    removed = run.history.steps[to_step:]
    run.first_attempts[draft.index] = draft.attempt + 1
    run.alternatives.clear()
    for step in removed:
        run.first_attempts[step.index] = plain(step.attempt) + 1
        run.history.num_tokens -= step.num_tokens
    discard(run, [booked for step in run.written[to_step:] for booked in step])
    discard(run, run.call.leave())
    del run.history.steps[to_step:], run.written[to_step:]
    run.stream.roll_back(to_step)
    run.forced = None
    run.journal.step(StepRow(run.key, to_step, draft.attempt, REMOVED, "", "", "", 0, 0.0))


def advance(run: Run) -> str:
    """After a kept step: end the run or plan the next one."""
    step = run.history.steps[-1]
    for monitor in run.monitors:
        if event := monitor.watch(run.history):
            if (step.index, event.kind) not in run.stored.events:
                run.journal.event(EventRow(run.key, step.index, event.kind, dumps({"reason": event.reason}), time()))
            if event.ends_run:
                return end(run, None, event.reason)
    if step.kind is StepKind.ANSWER:
        return end(run, None, CLOSED)
    if step.stop is Stop.END:
        return end(run, None, f"{ENDED} inside <think>" if run.stream.is_thinking(step.writer) else ENDED)
    if run.stop_on_answer and run.find_answer(step.text) is not None:
        return end(run, None, "the step holds an answer")
    if run.chat_only:
        return end(run, None, "a chat-only engine writes one turn")
    if "</think>" in step.text:
        return close(run, step)
    return plan(run)


def close(run: Run, step: Step) -> str:
    """After closed reasoning: let the same engine write the answer, unless there is one already."""
    if run.find_answer("".join(each.text for each in run.history.steps)) is not None:
        return end(run, None, CLOSED)
    return plan(run, owed_by=step.writer)


def plan(run: Run, *, owed_by: str | None = None) -> str:
    """Settle who writes the next step and return its node; `owed_by` is the engine that owes the answer, if any."""
    index = len(run.history.steps)
    attempt = run.first_attempts.get(index, 0)
    try:
        run.spender.check_steps(index)
    except LimitExceeded as limit:
        return end(run, Status.BUDGET, str(limit))
    if owed_by is not None:
        run.turn = Turn(owed_by, ANSWER, attempt, run.step_tokens, stands=True)
        return owed_by
    if run.forced is not None:
        engine, until = run.forced
        if until is None or index < until:
            run.turn = Turn(engine, "draft", attempt, run.step_tokens, stands=True)
            return engine
    planned = _before_step(run, index, attempt)
    if isinstance(planned, StopRun):
        return end(run, planned.status, planned.reason)
    run.step_tokens = planned.max_tokens
    run.turn = Turn(
        planned.engine,
        "draft",
        attempt,
        planned.max_tokens,
        planned.logprobs,
        whole=planned.whole,
        lead=planned.lead,
        rewrite_logprobs=planned.logprobs if run.doors.reads_rewrites else 0,
    )
    return planned.engine


def _before_step(run: Run, index: int, attempt: int) -> Planned | Plan | StopRun:
    """Return what the router says about the next step, or said in an earlier session.

    What has a reason is recorded, and what a person was asked about.
    """
    stored = run.stored.decisions.get((index, attempt, "before_step"))
    if isinstance(stored, Planned | StopRun):
        return stored
    with door(run.doors.policy) as answers:
        planned = run.doors.before_step(run.history)
    if isinstance(planned, StopRun):
        record(run, attempt, "before_step", planned)
        return planned
    if not isinstance(planned, Plan):
        raise UserError(f"{run.doors.policy} planned {planned!r}, not a Plan(engine=...) or stop(...)")
    _check_engine(run, planned.engine)
    if planned.max_tokens is not None and planned.max_tokens < 1:
        raise UserError(f"{run.doors.policy} planned a step of {planned.max_tokens} tokens: at least 1")
    if planned.lead and run.chat_only:
        raise UserError(
            f"{run.doors.policy} starts a step with {planned.lead!r}; a chat-only engine cannot go on from it"
        )
    if planned.reason or planned.lead or answers:
        why = Planned(
            engine=planned.engine,
            reason=planned.reason,
            max_tokens=planned.max_tokens,
            logprobs=planned.logprobs,
            whole=planned.whole,
            lead=planned.lead,
            features=tuple(planned.features),
        )
        record(run, attempt, "before_step", why)
    return planned


def settle(run: Run) -> None:
    """Bring a restored run back to the node it has to visit next."""
    if run.ending is not None:
        return
    if run.history.steps:
        advance(run)
    else:
        plan(run)


def end(run: Run, status: Status | None, reason: str) -> str:
    """Stop writing; the answer node concludes. An unfinished draft does not stand."""
    if run.ahead is not None:
        run.ahead.forget("the run ended")
    discard(run, run.call.leave())
    run.turn = None
    run.ending = Ending(status, reason)
    return ANSWER


def fail(run: Run, error: EngineError) -> str:
    """End the run as failed because of `error`."""
    run.error = error
    return end(run, Status.FAILED, str(error))


def fail_over(run: Run, turn: Turn, error: EngineError) -> str:
    """Let another engine write the step, as a recorded decision; fail if there is none left."""
    engines = run.history.engines
    place = engines.index(turn.engine)
    others = [*engines[place + 1 :], *reversed(engines[:place])]
    engine = next((other for other in others if other not in run.failed_engines), None)
    if engine is None or not run.can_fail_over:
        return fail(run, error)
    until = len(run.history.steps) + 1
    decision = Handoff(engine=engine, until=until, reason=f"failover: {error}", failed=error.engine)
    record(run, turn.attempt, "runtime", decision)
    return pass_on(run, turn, decision)


def pass_on(run: Run, turn: Turn, decision: Handoff) -> str:
    """Let another engine write the step in the place of one that failed."""
    run.failed_engines.add(turn.engine)
    run.taken_over.add((len(run.history.steps), turn.attempt + 1))
    purpose = ANSWER if turn.purpose == ANSWER else "rewrite"
    run.turn = Turn(decision.engine, purpose, turn.attempt + 1, turn.max_tokens, stands=True, lead=turn.lead)
    return decision.engine
