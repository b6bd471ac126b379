"""The loop body: write, measure, route, watch. One call is one visit of a node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.decisions import Decision, Handoff, Keep, Rewrite, Rollback, StopRun, keep
from orchestrator.errors import ContextExceeded, EngineError, EngineRejected, LimitExceeded, PartFailed
from orchestrator.runtime.act import act
from orchestrator.runtime.alternative import Adopt, alternative
from orchestrator.runtime.calls import WRITING
from orchestrator.runtime.deciding import decide
from orchestrator.runtime.decisions import forced_by
from orchestrator.runtime.following import follow
from orchestrator.runtime.moding import choose, reconsider
from orchestrator.runtime.run import CHOOSE, WATCH, Decided, Run, Turn
from orchestrator.runtime.step import (
    cut_off_late,
    end,
    fail,
    fail_over,
    finish,
    go_on,
    keep_step,
    pass_on,
    plan,
    rewriting,
    roll_back,
)
from orchestrator.runtime.watch import advance, hear, heed
from orchestrator.runtime.write import write
from orchestrator.types import Status, Step

__all__ = ["settle", "take_turn"]

_KEPT = keep(reason="written without asking")


async def take_turn(run: Run, engine: str) -> str:
    """Let `engine` write, route what it wrote, and return the node to visit next; at the node `act`, call tools.

    A visit that is not due (the step was taken before) does nothing but say where the run is. What a
    step wrote to the journal is committed with the intent of the next call, before that is sent.
    """
    turn = run.turn
    if turn is None or turn.engine != engine:
        return run.place
    passed = run.stored.decisions.get((len(run.history.steps), turn.attempt, "runtime"))
    if isinstance(passed, Handoff) and turn.purpose in WRITING:
        return pass_on(run, turn, passed)
    try:
        place = await _take(run, turn)
    except BaseException:
        if run.ahead is not None:
            await run.ahead.abandon()
        cut_off_late(run)
        await run.call.cut_off()
        raise
    if run.ahead is not None and run.ending is not None:
        await run.ahead.rest()
    return place


async def _take(run: Run, turn: Turn) -> str:
    try:
        async with in_time(run):
            place = await _spend(run, turn)
            if run.turn is not None and run.turn.purpose == WATCH:
                place = await heed(run)
            return place
    except LimitExceeded as limit:
        return finish(run, Status.BUDGET, str(limit))
    except ContextExceeded as full:
        return finish(run, Status.BUDGET, str(full)) if run.history.steps else fail(run, full)
    except (EngineRejected, PartFailed) as refused:
        return fail(run, refused)
    except EngineError as error:
        return fail_over(run, turn, error)


async def _spend(run: Run, turn: Turn) -> str:
    """Do what the turn is for."""
    match turn.purpose:
        case "act":
            return await act(run, turn)
        case "choose":
            return await choose(run, turn)
        case "reconsider":
            return await reconsider(run, turn)
        case "watch":
            return run.place
    if run.ahead is not None:
        await run.ahead.join(turn)
    await follow(run)
    draft = await write(run, turn)
    if run.late and (place := await hear(run, draft)) is not None:
        return place
    if run.ahead is not None and not turn.stands:
        await run.ahead.go_on(turn, draft)
    decision = _KEPT if turn.stands else await decide(run, draft)
    return carry_out(run, turn, draft, decision)


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


def carry_out(run: Run, turn: Turn, draft: Step, decision: Decision) -> str:
    """Do what was decided about a draft and return the node to visit next."""
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
        case Handoff(engine=engine, turns=turns, note=note):
            run.forced = forced_by(decision, draft.index)
            again = rewriting(turn, draft, engine)
            run.turn = again._replace(whole=turn.whole and turns is not None, lead=note or turn.lead)
        case Rollback(to_step=to_step):
            roll_back(run, to_step, draft.attempt)
            return go_on(run)
        case StopRun(status=status, reason=reason):
            keep_step(run, draft)
            return end(run, status, reason)
        case _:
            keep_step(run, draft)
            return advance(run)
    return run.place


def settle(run: Run) -> None:
    """Bring a new or restored run to the node it has to visit next."""
    try:
        _settle(run)
    except PartFailed as error:
        fail(run, error)


def _settle(run: Run) -> None:
    if run.ending is not None:
        ending, run.ending = run.ending, None
        end(run, *ending)
    elif run.stored.went_back:
        go_on(run)
    elif run.history.steps:
        advance(run)
    elif run.mode_policy is not None and run.history.mode is None:
        run.turn = Turn(run.history.small, CHOOSE, stands=True, attempt=0)
    else:
        plan(run)
