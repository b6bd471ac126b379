"""How is it going?  History in, events out; one policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry

<<<<<<< HEAD
__all__ = ["MONITORS", "Chance", "Every", "Stalled", "find"]
=======
__all__ = ["MONITORS", "Convergence", "Overthinking", "Saturation", "Stalled", "TrialAnswer", "find"]
>>>>>>> refs/heads/exits

MONITORS = {
    "convergence": "orchestrator.monitors.convergence:Convergence",
    "overthinking": "orchestrator.monitors.overthinking:Overthinking",
    "saturation": "orchestrator.monitors.saturation:Saturation",
    "stalled": "orchestrator.monitors.stalled:Stalled",
<<<<<<< HEAD
    "every": "orchestrator.monitors.every:Every",
    "chance": "orchestrator.monitors.chance:Chance",
=======
    "trial-answer": "orchestrator.monitors.trial_answer:TrialAnswer",
>>>>>>> refs/heads/exits
}


def find(name: str) -> Any:
    """Return the monitor class called `name`. Raises UnknownName, listing all names."""
    return registry.find("monitors", name, MONITORS)


def __getattr__(name: str) -> Any:
    return registry.by_class("monitors", name, MONITORS)
