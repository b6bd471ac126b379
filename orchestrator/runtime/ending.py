"""The end of a run: find the answer, settle the status, and put the outcome on disk."""

from __future__ import annotations

from json import dumps
from time import time

from orchestrator.errors import EngineError, LimitExceeded
from orchestrator.memory.base import OutcomeRow
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.run import ANSWER, Run, Turn
from orchestrator.runtime.step import discard, end, fail, keep_step
from orchestrator.runtime.trace import Trace
from orchestrator.runtime.write import write
from orchestrator.types import Status, StepKind, Stop

__all__ = ["conclude", "reopen"]


async def conclude(run: Run) -> RunResult:
    """Find the answer, let it be written first if the reasoning was closed without one, and end the run."""
    if run.outcome is not None:
        return run.outcome
    assert run.ending is not None
    text = "".join(step.text for step in run.history.steps)
    if run.ending.status is None and _owes_answer(run, text):
        await _write_answer(run)
        text = "".join(step.text for step in run.history.steps)
    answer = run.find_answer(text)
    status = run.ending.status or _status(run, answer)
    run.outcome = _result(run, status, answer, run.ending.reason, run.spender.elapsed_s)
    error = str(run.error) if run.error else ""
    run.journal.outcome(
        OutcomeRow(
            run.key,
            status.value,
            answer,
            error,
            run.ending.reason,
            run.outcome.seconds,
            dumps(run.ledger.rows()),
            time(),
        )
    )
    run.journal.commit()
    return run.outcome


def reopen(run: Run, stored: OutcomeRow) -> None:
    """Give a restored run the outcome it had."""
    end(run, Status(stored.status), stored.reason)
    run.outcome = _result(run, Status(stored.status), stored.answer, stored.reason, stored.seconds)


def _result(run: Run, status: Status, answer: str | None, reason: str, seconds: float) -> RunResult:
    return RunResult(
        run_id=run.id,
        status=status,
        answer=answer,
        text="".join(step.text for step in run.history.steps),
        steps=tuple(run.history.steps),
        ledger=run.ledger,
        reason=reason,
        seconds=seconds,
        error=run.error,
        trace=Trace(run.journal, run.id),
    )


def _owes_answer(run: Run, text: str) -> bool:
    if not run.history.steps or run.chat_only or "</think>" not in text:
        return False
    last = run.history.steps[-1]
    return last.stop is not Stop.END and last.kind is not StepKind.ANSWER and run.find_answer(text) is None


async def _write_answer(run: Run) -> None:
    writer = run.history.steps[-1].writer
    attempt = run.first_attempts.get(len(run.history.steps), 0)
    try:
        keep_step(run, await write(run, Turn(writer, ANSWER, attempt, stands=True)))
    except LimitExceeded as limit:
        discard(run)
        end(run, Status.BUDGET, str(limit))
    except EngineError as error:
        fail(run, error)


def _status(run: Run, answer: str | None) -> Status:
    if answer is None:
        return Status.NO_ANSWER
    return Status.DEGRADED if run.is_degraded else Status.COMPLETED
