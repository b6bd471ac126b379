"""How is it going?  History in, events out; one policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry

__all__ = ["MONITORS", "Chance", "Every", "Stalled", "find"]

MONITORS = {
    "stalled": "orchestrator.monitors.stalled:Stalled",
    "every": "orchestrator.monitors.every:Every",
    "chance": "orchestrator.monitors.chance:Chance",
}


def find(name: str) -> Any:
    """Return the monitor class called `name`. Raises UnknownName, listing all names."""
    return registry.find("monitors", name, MONITORS)


def __getattr__(name: str) -> Any:
    return registry.by_class("monitors", name, MONITORS)
