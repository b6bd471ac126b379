"""How is it going?  History in, events out; one policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry

__all__ = ["MONITORS", "Chance", "Convergence", "Every", "Overthinking", "Saturation", "Stalled", "TrialAnswer", "find"]


MONITORS = {
    "convergence": "orchestrator.monitors.convergence:Convergence",
    "overthinking": "orchestrator.monitors.overthinking:Overthinking",
    "saturation": "orchestrator.monitors.saturation:Saturation",
    "stalled": "orchestrator.monitors.stalled:Stalled",
    "every": "orchestrator.monitors.every:Every",
    "chance": "orchestrator.monitors.chance:Chance",
    "trial-answer": "orchestrator.monitors.trial_answer:TrialAnswer",
}


def find(name: str) -> Any:
    """Return the monitor class called `name`. Raises UnknownName, listing all names."""
    return registry.find("monitors", name, MONITORS)


def __getattr__(name: str) -> Any:
    return registry.by_class("monitors", name, MONITORS)
