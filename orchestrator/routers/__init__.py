"""Who writes the next step?  One policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry
from orchestrator.errors import UserError

__all__ = [
    "DOORS",
    "ROUTERS",
    "RSD",
    "AnswerGate",
    "Arbitrage",
    "Cascade",
    "Entropy",
    "Hybrid",
    "LargeOnly",
    "LinUCB",
    "Oracle",
    "Random",
    "SmallOnly",
    "SpecReason",
    "SpeculativeThinking",
    "find",
]

ROUTERS = {
    "small": "orchestrator.routers.small:SmallOnly",
    "large": "orchestrator.routers.large:LargeOnly",
    "random": "orchestrator.routers.random:Random",
    "oracle": "orchestrator.routers.oracle:Oracle",
    "specreason": "orchestrator.routers.specreason:SpecReason",
    "arbitrage": "orchestrator.routers.arbitrage:Arbitrage",
    "rsd": "orchestrator.routers.rsd:RSD",
    "entropy": "orchestrator.routers.entropy:Entropy",
    "speculative-thinking": "orchestrator.routers.speculative_thinking:SpeculativeThinking",
    "answer-gate": "orchestrator.routers.answer_gate:AnswerGate",
    "hybrid": "orchestrator.routers.hybrid:Hybrid",
    "linucb": "orchestrator.routers.linucb:LinUCB",
    "cascade": "orchestrator.routers.cascade:Cascade",
}
DOORS = ("needs", "before_step", "after_draft", "after_run")
"""What makes an object a router: one of these."""


def find(name: str) -> Any:
    """Return the router class called `name`. Raises UnknownName, listing all names, or UserError if it is none."""
    found = registry.find("routers", name, ROUTERS)
    if not isinstance(found, type) or not any(hasattr(found, door) for door in DOORS):
        raise UserError(f"router {name!r} is {found!r}, no class with {' or '.join(DOORS[1:3])}: mend its package")
    return found


def __getattr__(name: str) -> Any:
    return registry.by_class("routers", name, ROUTERS)
