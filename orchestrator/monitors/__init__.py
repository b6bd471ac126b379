"""How is it going?  History in, events out; one policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry

__all__ = [
    "MONITORS",
    "Chance",
    "Classified",
    "Convergence",
    "Drift",
    "Every",
    "FailedSteps",
    "FlawRepetition",
    "Milestone",
    "Overthinking",
    "Redundant",
    "Repetition",
    "Saturation",
    "Spent",
    "Stalled",
    "Stuck",
    "ThinkAnswerMismatch",
    "TrialAnswer",
    "Ungrounded",
    "find",
]

MONITORS = {
    "convergence": "orchestrator.monitors.convergence:Convergence",
    "overthinking": "orchestrator.monitors.overthinking:Overthinking",
    "saturation": "orchestrator.monitors.saturation:Saturation",
    "classified": "orchestrator.monitors.classified:Classified",
    "stalled": "orchestrator.monitors.stalled:Stalled",
    "stuck": "orchestrator.monitors.stuck:Stuck",
    "milestone": "orchestrator.monitors.milestone:Milestone",
    "drift": "orchestrator.monitors.drift:Drift",
    "budget": "orchestrator.monitors.budget:Spent",
    "redundant": "orchestrator.monitors.redundant:Redundant",
    "repetition": "orchestrator.monitors.repetition:Repetition",
    "flaw-repetition": "orchestrator.monitors.flaw_repetition:FlawRepetition",
    "think-answer-mismatch": "orchestrator.monitors.think_answer_mismatch:ThinkAnswerMismatch",
    "failed-steps": "orchestrator.monitors.failed_steps:FailedSteps",
    "every": "orchestrator.monitors.every:Every",
    "chance": "orchestrator.monitors.chance:Chance",
    "trial-answer": "orchestrator.monitors.trial_answer:TrialAnswer",
    "ungrounded": "orchestrator.monitors.ungrounded:Ungrounded",
}


def find(name: str) -> Any:
    """Return the monitor class called `name`. Raises UnknownName, listing all names."""
    return registry.find("monitors", name, MONITORS)


def __getattr__(name: str) -> Any:
    return registry.by_class("monitors", name, MONITORS)
