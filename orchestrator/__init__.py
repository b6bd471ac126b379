"""Spend large-model tokens only on the reasoning steps that need them, and be able to prove it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator import engines, errors, learning, modes, monitors, routers, tools, traces
    from orchestrator.ledger import Ledger, Price
    from orchestrator.runtime.embed import reasoning_node
    from orchestrator.runtime.pipeline import Pipeline
    from orchestrator.runtime.result import RunResult
    from orchestrator.types import Budget, Message, Overlap, Sampling, Status, Step, Task

_HOMES = {
    "Budget": "orchestrator.types",
    "Ledger": "orchestrator.ledger",
    "Message": "orchestrator.types",
    "Overlap": "orchestrator.types",
    "Pipeline": "orchestrator.runtime.pipeline",
    "Price": "orchestrator.ledger",
    "RunResult": "orchestrator.runtime.result",
    "Sampling": "orchestrator.types",
    "Status": "orchestrator.types",
    "Step": "orchestrator.types",
    "Task": "orchestrator.types",
    "reasoning_node": "orchestrator.runtime.embed",
}
_ROOMS = ("engines", "errors", "learning", "modes", "monitors", "routers", "tools", "traces")

__all__ = [
    "Budget",
    "Ledger",
    "Message",
    "Overlap",
    "Pipeline",
    "Price",
    "RunResult",
    "Sampling",
    "Status",
    "Step",
    "Task",
    "engines",
    "errors",
    "learning",
    "modes",
    "monitors",
    "reasoning_node",
    "routers",
    "tools",
    "traces",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `orchestrator --help` need not load LangGraph."""
    if name in _ROOMS:
        return import_module(f"orchestrator.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
