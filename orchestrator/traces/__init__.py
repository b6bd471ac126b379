"""Stored runs for people: compared, drawn, and decided again."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.traces.diff import Diff, diff
    from orchestrator.traces.drawn import drawn
    from orchestrator.traces.graph import graph
    from orchestrator.traces.policy import router_of
    from orchestrator.traces.replay import Replayed, replay
    from orchestrator.traces.what_if import OneStep, what_if

__all__ = ["Diff", "OneStep", "Replayed", "diff", "drawn", "graph", "replay", "router_of", "what_if"]

_HOMES = {
    "Diff": "diff",
    "OneStep": "what_if",
    "Replayed": "replay",
    "diff": "diff",
    "drawn": "drawn",
    "graph": "graph",
    "replay": "replay",
    "router_of": "policy",
    "what_if": "what_if",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _HOMES:
        return getattr(import_module(f"orchestrator.traces.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
