"""A thought is closed before its engine closes it, and the answer asked for."""

from __future__ import annotations

from typing import Any

from orchestrator.runtime.decisions import Exited, record_once
from orchestrator.runtime.foreign import brought
from orchestrator.runtime.run import ANSWER, Run, Turn
from orchestrator.types import StepKind, Stop

__all__ = ["can_close", "close_thought"]


def can_close(run: Run) -> bool:
    """Whether there is a thought to close: an open block, or reasoning that goes on without ever having had one."""
    writer, last = run.last_writer, run.history.steps[-1]
    if writer in run.chat_only or run.thinking.is_open(writer):
        return writer not in run.chat_only
    is_reasoning = last.kind is StepKind.THOUGHT and last.stop is not Stop.END
    return is_reasoning and not run.thinking.was_closed and run.thinks_by(writer) is not False


def close_thought(
    run: Run, attempt: int, reason: str, *, answer: str | None = None, spent: bool = False, **why: Any
) -> str:
    """Close the thought where it stands and let its writer answer, as a recorded exit.

    `answer` is what it answered there when it had to: that stands, because drawn anew it could be another one. Where
    there are tools the writer may want to call one first, so nothing stands. `spent` says that it is because the
    mode's budget of thought is. `why` takes threshold and margin.
    """
    record_once(run, attempt, "exit", _exit(run, reason, spent=spent, **why))
    writer, probe = run.last_writer, run.probes[run.last_writer]
    closes = probe.closes if run.thinking.is_open(writer) else ""
    forced = f"{probe.opens}{answer}}}" if answer is not None and run.tools is None else ""
    lead = closes + forced or probe.opens
    run.turn = Turn(writer, ANSWER, attempt, run.step_tokens, stands=True, lead=lead)
    return writer


def _exit(run: Run, reason: str, *, spent: bool, **why: Any) -> Exited:
    """Return the exit with what can be known of what it saves: nobody knows how long the thought would have been."""
    thought = run.thinking.tokens
    # Of the run's budget more may be gone than stands; what stands is the same after a resume.
    of_run = None if run.spender.tokens is None else max(0, run.spender.tokens - run.history.num_tokens)
    limits = (None if spent else run.thought_left, of_run)
    at_most = min((limit for limit in limits if limit is not None), default=None)
    knows = getattr(run.mode_policy, "usual", None)
    with brought(f"mode {run.mode_name}"):
        usual: float | None = knows(run.history) if knows else None
    told = [f"{reason}; {thought} tokens of thought"]
    told += [] if at_most is None else [f"saves {at_most} at most"]
    told += [] if usual is None else [f"{usual:.0f} are usual"]
    return Exited(reason=", ".join(told), thought=thought, at_most=at_most, usual=usual, **why)
