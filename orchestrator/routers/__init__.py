"""Who writes the next step?  One policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry

__all__ = ["ROUTERS", "Arbitrage", "LargeOnly", "Oracle", "Random", "SmallOnly", "SpecReason", "find"]

ROUTERS = {
    "small": "orchestrator.routers.small:SmallOnly",
    "large": "orchestrator.routers.large:LargeOnly",
    "random": "orchestrator.routers.random:Random",
    "oracle": "orchestrator.routers.oracle:Oracle",
    "specreason": "orchestrator.routers.specreason:SpecReason",
    "arbitrage": "orchestrator.routers.arbitrage:Arbitrage",
}


def find(name: str) -> Any:
    """Return the router class called `name`. Raises UnknownName, listing all names."""
    return registry.find("routers", name, ROUTERS)


def __getattr__(name: str) -> Any:
    return registry.by_class("routers", name, ROUTERS)
