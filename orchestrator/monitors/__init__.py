"""How is it going?  History in, events out; one policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry

__all__ = [
    "MONITORS",
    "Drift",
    "FailedSteps",
    "FlawRepetition",
    "Milestone",
    "Repetition",
    "Spent",
    "Stalled",
    "Stuck",
    "ThinkAnswerMismatch",
    "find",
]

MONITORS = {
    "stalled": "orchestrator.monitors.stalled:Stalled",
    "stuck": "orchestrator.monitors.stuck:Stuck",
    "milestone": "orchestrator.monitors.milestone:Milestone",
    "drift": "orchestrator.monitors.drift:Drift",
    "budget": "orchestrator.monitors.budget:Spent",
    "repetition": "orchestrator.monitors.repetition:Repetition",
    "flaw-repetition": "orchestrator.monitors.flaw_repetition:FlawRepetition",
    "think-answer-mismatch": "orchestrator.monitors.think_answer_mismatch:ThinkAnswerMismatch",
    "failed-steps": "orchestrator.monitors.failed_steps:FailedSteps",
}


def find(name: str) -> Any:
    """Return the monitor class called `name`. Raises UnknownName, listing all names."""
    return registry.find("monitors", name, MONITORS)


def __getattr__(name: str) -> Any:
    return registry.by_class("monitors", name, MONITORS)
