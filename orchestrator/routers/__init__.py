"""Who writes the next step?  One policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry

__all__ = [
    "ROUTERS",
    "RSD",
    "AnswerGate",
    "Arbitrage",
    "Entropy",
    "Hybrid",
    "LargeOnly",
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
}


def find(name: str) -> Any:
    """Return the router class called `name`. Raises UnknownName, listing all names."""
    return registry.find("routers", name, ROUTERS)


def __getattr__(name: str) -> Any:
    return registry.by_class("routers", name, ROUTERS)
