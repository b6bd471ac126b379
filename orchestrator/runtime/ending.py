"""The end of a run: find the answer, settle the status, put the outcome on disk, and let a learner learn from it."""

from __future__ import annotations

from json import dumps
from time import time

from orchestrator.memory.base import OutcomeRow
from orchestrator.runtime import learning, recalling
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.run import Run
from orchestrator.runtime.step import finish
from orchestrator.runtime.trace import Trace
from orchestrator.types import Status, StepKind

__all__ = ["conclude", "reopen"]


async def conclude(run: Run) -> RunResult:
    """Find the answer and end the run. A call that is under way still, because nobody waited for it, is cut off."""
    if run.outcome is not None:
        return run.outcome
    await run.call.cut_off()
    assert run.ending is not None
    answer = run.find_answer(run.text())
    status = run.ending.status or _status(run, answer)
    outcome = _result(run, status, answer, run.ending.reason, run.spender.elapsed_s)
    error = str(run.error) if run.error else ""
    row = OutcomeRow(
        run.key,
        status.value,
        answer,
        error,
        run.ending.reason,
        outcome.seconds,
        dumps(run.ledger.rows()),
        time(),
    )
    if run.history.mode is not None:
        learning.note_thought(run, run.history.mode)
    reward = learning.reward_at_end(run, status, answer) if run.known or run.recalled else None
    if run.recalled is not None:
        recalling.settle(run, reward)
    if run.known:
        run.journal.conclude(row, reward, learning.lessons_of(run))
    else:
        run.journal.outcome(row)
        run.journal.commit(run.key)
    run.outcome = outcome
    return outcome


def reopen(run: Run, stored: OutcomeRow) -> None:
    """Give a restored run the outcome it had."""
    finish(run, Status(stored.status), stored.reason)
    run.outcome = _result(run, Status(stored.status), stored.answer, stored.reason, stored.seconds)


def _result(run: Run, status: Status, answer: str | None, reason: str, seconds: float) -> RunResult:
    return RunResult(
        run_id=run.id,
        status=status,
        answer=answer,
        text="".join(step.text for step in run.history.steps if step.kind is not StepKind.OBSERVATION),
        steps=tuple(run.history.steps),
        ledger=run.ledger,
        reason=reason,
        seconds=seconds,
        error=run.error,
        trace=Trace(run.journal, run.id),
    )


def _status(run: Run, answer: str | None) -> Status:
    if answer is None:
        return Status.NO_ANSWER
    return Status.DEGRADED if run.is_degraded else Status.COMPLETED
