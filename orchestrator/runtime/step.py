"""What happens to a run between two calls: steps are kept or taken away, the next one is planned, the run ends.

Every function here is idempotent on (run, step, attempt): decisions that the journal already holds are taken from
there.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.decisions import Handoff, Plan, StopRun, handback
from orchestrator.errors import EngineError, LimitExceeded, OrchestratorError, UserError
from orchestrator.memory.base import REMOVED, StepRow
from orchestrator.runtime import following
from orchestrator.runtime.calls import Booked
from orchestrator.runtime.closing import close_thought
from orchestrator.runtime.decisions import Planned, check_engine, record, record_once
from orchestrator.runtime.interrupts import door
from orchestrator.runtime.marks import plain
from orchestrator.runtime.run import ACT, ANSWER, RECONSIDER, Ending, Forced, Kept, Run, Turn
from orchestrator.think_tags import leaves_open
from orchestrator.types import Mode, Status, Step, StepKind, Stop

__all__ = [
    "cut_off_late",
    "discard",
    "end",
    "fail",
    "fail_over",
    "finish",
    "go_on",
    "hand_back",
    "keep_step",
    "pass_on",
    "plan",
    "rewriting",
    "roll_back",
]

CLOSED = "the reasoning was closed"
ENDED = "the engine ended its text"
REOPENED = "the engine thought again where its answer was due"


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
    run.thinking.keep(step)
    run.history.steps.append(step)
    run.history.num_tokens += step.num_tokens
    run.history.thought_tokens = run.thinking.tokens
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


def roll_back(run: Run, to_step: int, attempt: int) -> None:
    """Throw away the kept steps from `to_step` on, and the candidate in hand, which is the `attempt`."""
    if run.ahead is not None:
        run.ahead.forget("the run went back")
    removed = run.history.steps[to_step:]
    run.first_attempts[len(run.history.steps)] = attempt + 1
    run.alternatives.clear()
    for step in removed:
        run.first_attempts[step.index] = plain(step.attempt) + 1
        run.history.num_tokens -= step.num_tokens
    discard(run, [booked for step in run.written[to_step:] for booked in step])
    discard(run, run.call.leave())
    del run.history.steps[to_step:], run.written[to_step:]
    run.stream.roll_back(to_step)
    following.went_back(run, to_step)
    run.thinking.roll_back(to_step)
    run.history.thought_tokens = run.thinking.tokens
    run.history.events = [event for event in run.history.events if event.step < to_step]
    run.history.window = min(run.history.window, to_step)
    run.forced = None
    cut_off_late(run)
    if run.make_tools is not None and to_step < run.caught_up:
        run.tools, run.caught_up = run.make_tools(), 0
    run.journal.step(StepRow(run.key, to_step, attempt, REMOVED, "", "", "", 0, 0.0))


def go_on(run: Run) -> str:
    """Behind kept steps that nothing more is to be said about: end the run, act, or plan the next step."""
    if not run.history.steps:
        return plan(run)
    step = run.history.steps[-1]
    if step.kind is StepKind.ACTION:
        try:
            run.spender.check_steps(len(run.history.steps))
        except LimitExceeded as limit:
            return end(run, Status.BUDGET, str(limit))
        run.turn = Turn(ACT, ACT, run.first_attempts.get(len(run.history.steps), 0), stands=True)
        return ACT
    if step.kind is StepKind.OBSERVATION:
        return plan(run)
    if step.kind is StepKind.ANSWER:
        return end(run, None, REOPENED if leaves_open(step.text) else CLOSED)
    if step.stop is Stop.END:
        return end(run, None, f"{ENDED} inside <think>" if run.thinking.is_open(step.writer) else ENDED)
    if run.stop_on_answer and run.find_answer(step.text) is not None:
        return end(run, None, "the step holds an answer")
    if run.chat_only:
        return end(run, None, "a chat-only engine writes one turn")
    if leaves_open(step.text) is False:
        return _close(run, step)
    return plan(run)


def _close(run: Run, step: Step) -> str:
    """After closed reasoning: let the same engine write the answer, unless there is one already."""
    if run.find_answer(run.text()) is not None:
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
    if run.history.mode is not None and (place := _hold(run, run.history.mode, attempt)) is not None:
        return place
    if run.forced is not None:
        if not _is_over(run, run.forced):
            return _forced(run, run.forced, attempt)
        hand_back(run, attempt, run.forced)
    planned = _before_step(run, index, attempt)
    if isinstance(planned, StopRun):
        return end(run, planned.status, planned.reason)
    run.step_tokens, run.writes_whole = planned.max_tokens, planned.whole
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


def _hold(run: Run, mode: Mode, attempt: int) -> str | None:
    """Hold the run to the limits of its mode; None where it may go on."""
    if run.words_left == 0:
        return end(run, None, f"all that mode {mode.name} allows is written")
    if run.thought_left == 0 and run.history.steps and run.thinking.is_open(run.last_writer):
        why = f"mode {mode.name} allows none" if mode.think is False else "the mode's budget of thought is used up"
        return close_thought(run, attempt, why, spent=True)
    return None


def _forced(run: Run, forced: Forced, attempt: int) -> str:
    run.turn = Turn(
        forced.engine,
        "draft",
        attempt,
        forced.max_tokens,
        stands=True,
        whole=forced.whole,
        lead=forced.note if len(run.history.steps) == forced.since else "",
    )
    return forced.engine


def _is_over(run: Run, forced: Forced) -> bool:
    if forced.turns is None:
        return forced.until is not None and len(run.history.steps) >= forced.until
    since = run.history.steps[forced.since :]
    turns = sum(step.kind is StepKind.OBSERVATION for step in since) if run.tools is not None else len(since)
    return turns >= forced.turns


def hand_back(run: Run, attempt: int, forced: Forced) -> None:
    """End a hand-over whose time is over. Monitors begin anew behind one that was counted in turns."""
    run.forced = None
    if forced.turns is not None:
        run.history.window = len(run.history.steps)
        turns = f"{forced.turns} turn{'s' if forced.turns > 1 else ''}"
        record_once(run, attempt, "handover", handback(reason=f"{forced.engine} has had {turns}"))


def _before_step(run: Run, index: int, attempt: int) -> Planned | Plan | StopRun:
    """Return what the router says about the next step, or said in an earlier session.

    What has a reason is recorded, what a person was asked about, and what later steps without a plan are written by.
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
    check_engine(run, planned.engine)
    if planned.max_tokens is not None and planned.max_tokens < 1:
        raise UserError(f"{run.doors.policy} planned a step of {planned.max_tokens} tokens: at least 1")
    if planned.lead and run.chat_only:
        raise UserError(
            f"{run.doors.policy} starts a step with {planned.lead!r}; a chat-only engine cannot go on from it"
        )
    is_new = (planned.max_tokens, planned.whole) != (run.step_tokens, run.writes_whole)
    if planned.reason or planned.lead or answers or is_new:
        why = Planned(
            engine=planned.engine,
            reason=planned.reason,
            max_tokens=planned.max_tokens,
            logprobs=planned.logprobs,
            whole=planned.whole,
            lead=planned.lead,
            features=tuple(map(float, planned.features)),
        )
        record(run, attempt, "before_step", why)
    return planned


def end(run: Run, status: Status | None, reason: str) -> str:
    """Stop writing, unless the mode's policy has still to say that the answer will do."""
    if status is None and run.can_reconsider:
        cut_off_late(run)
        run.owed = Ending(status, reason)
        run.turn = Turn(run.last_writer, RECONSIDER, run.first_attempts.get(len(run.history.steps), 0), stands=True)
        return run.last_writer
    return finish(run, status, reason)


def cut_off_late(run: Run) -> None:
    """Forget what late monitors were asked, and what they noticed that nobody was told of."""
    for task in run.late:
        task.cancel()
    run.late.clear()
    run.heard_late.clear()


def finish(run: Run, status: Status | None, reason: str) -> str:
    """Stop writing; the answer node concludes. An unfinished draft does not stand."""
    if run.ahead is not None:
        run.ahead.forget("the run ended")
    cut_off_late(run)
    discard(run, run.call.leave())
    run.turn = None
    run.ending = Ending(status, reason)
    return ANSWER


def fail(run: Run, error: OrchestratorError) -> str:
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
    run.turn = Turn(
        decision.engine,
        purpose,
        turn.attempt + 1,
        turn.max_tokens,
        stands=True,
        whole=turn.whole,
        lead=turn.lead,
    )
    return decision.engine
