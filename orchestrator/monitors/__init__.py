"""How is it going?  History in, events out; one policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry

__all__ = ["MONITORS", "Classified", "Stalled", "find"]

MONITORS = {
    "classified": "orchestrator.monitors.classified:Classified",
    "stalled": "orchestrator.monitors.stalled:Stalled",
}


def find(name: str) -> Any:
    """Return the monitor class called `name`. Raises UnknownName, listing all names."""
    return registry.find("monitors", name, MONITORS)


def __getattr__(name: str) -> Any:
    return registry.by_class("monitors", name, MONITORS)
