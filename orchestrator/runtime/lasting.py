"""What tools did in the world stays done: a run does not go back before it.

A tool that may be called again, and one of a simulation, leaves nothing behind that would have to be taken back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from orchestrator.errors import UserError
from orchestrator.runtime.run import Run
from orchestrator.types import Rollback, StepKind

__all__ = ["Lasting", "lasting", "reachable"]


class Lasting(NamedTuple):
    """What was done last for good."""

    step: int
    """Index of the observation."""
    tool: str


def lasting(run: Run) -> Lasting | None:
    """Return what tools did last that cannot be taken back, None where it all can."""
    if run.tools is None or run.make_tools is not None:
        return None
    once = {tool.name for tool in run.tools if not tool.is_idempotent}
    for step in reversed(run.history.steps):
        if step.kind is StepKind.OBSERVATION:
            for name in sorted(run.call.begun((step.index, step.attempt)) & once):
                return Lasting(step.index, name)
    return None


def reachable(run: Run, decision: Rollback) -> Rollback:
    """Return a rollback as far as it can go, with the reason if that is not as far as it was to.

    Raises UserError for a step that there is not.
    """
    index = len(run.history.steps)
    if not 0 <= decision.to_step <= index:
        raise UserError(f"{run.doors.policy} rolls step {index} back to {decision.to_step}: give 0 to {index}")
    done = lasting(run)
    if done is None or decision.to_step > done.step:
        return decision
    why = f"{decision.reason}; but what {done.tool} did at step {done.step} cannot be taken back"
    return replace(decision, to_step=done.step + 1, reason=why)
