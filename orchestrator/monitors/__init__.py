"""How is it going?  History in, events out; one policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry

__all__ = ["MONITORS", "Stalled", "find"]

MONITORS = {
    "stalled": "orchestrator.monitors.stalled:Stalled",
}


def find(name: str) -> Any:
    """Return the monitor class called `name`. Raises UnknownName, listing all names."""
    return registry.find("monitors", name, MONITORS)


def __getattr__(name: str) -> Any:
    for known, target in MONITORS.items():
        if target.endswith(f":{name}"):
            return find(known)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
