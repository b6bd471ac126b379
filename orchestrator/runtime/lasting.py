"""What tools did in the world stays done: a run does not go back before it.

A tool that may be called again, and one of a simulation, leaves nothing behind that would have to be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from orchestrator.decisions import Handoff, Rollback
from orchestrator.errors import UserError
from orchestrator.runtime.run import Run
from orchestrator.tools.base import Tool
from orchestrator.types import StepKind, Task

__all__ = ["Lasting", "lasting", "reachable", "unrepeatable"]


Going = TypeVar("Going", bound=Rollback | Handoff)
"""What goes back to a step."""


class Lasting(NamedTuple):
    """What was done last for good."""

    step: int
    """Index of the observation."""
    tool: str


def lasting(run: Run) -> Lasting | None:
    """Return what tools did last that cannot be taken back, None where it all can."""
    if run.tools is None or run.make_tools is not None:
        return None
    once = unrepeatable(run.tools)
    for step in reversed(run.history.steps):
        if step.kind is StepKind.OBSERVATION:
            for name in sorted(run.call.begun((step.index, step.attempt)) & once):
                return Lasting(step.index, name)
    return None


def unrepeatable(tools: Iterable[Tool] | Callable[[Task], Any]) -> frozenset[str]:
    """Return the names of the tools that may not be called again; none of those that are made for a task."""
    return frozenset() if callable(tools) else frozenset(tool.name for tool in tools if not tool.is_idempotent)


def reachable(run: Run, decision: Going) -> Going:
    """Return a rollback as far as it can go, with the reason if that is not as far as it was to.

    Raises UserError for a step that there is not.
    """
    index = len(run.history.steps)
    assert decision.to_step is not None
    if not 0 <= decision.to_step <= index:
        raise UserError(f"{run.doors.policy} rolls step {index} back to {decision.to_step}: give 0 to {index}")
    done = lasting(run)
    if done is None or decision.to_step > done.step:
        return decision
    why = f"{decision.reason}; but what {done.tool} did at step {done.step} cannot be taken back"
    return replace(decision, to_step=done.step + 1, reason=why)
