"""How much to think?  One policy, one file, one sentence."""

from __future__ import annotations

from typing import Any

from orchestrator import registry

__all__ = [
    "AGENTIC",
    "INSTANT",
    "MODES",
    "NO_THINK",
    "THINK",
    "Agreement",
    "Effort",
    "FirstTry",
    "FirstTryByKind",
    "Lengths",
    "SelfClassified",
    "auto",
    "find",
]

MODES = {
    "instant": "orchestrator.modes.fixed:INSTANT",
    "no_think": "orchestrator.modes.fixed:NO_THINK",
    "think": "orchestrator.modes.fixed:THINK",
    "agentic": "orchestrator.modes.fixed:AGENTIC",
    "effort": "orchestrator.modes.effort:Effort",
    "lengths": "orchestrator.modes.lengths:Lengths",
    "agreement": "orchestrator.modes.agreement:Agreement",
    "first-try": "orchestrator.modes.first_try:FirstTry",
    "first-try-by-kind": "orchestrator.modes.by_kind:FirstTryByKind",
    "self-classified": "orchestrator.modes.self_classified:SelfClassified",
    "auto": "orchestrator.modes.automatic:auto",
}
"""A mode, a policy's class, or a function that returns a policy, by name."""


def find(name: str) -> Any:
    """Return what is registered as `name`. Raises UnknownName, listing all names."""
    return registry.find("modes", name, MODES)


def __getattr__(name: str) -> Any:
    return registry.by_class("modes", name, MODES)
