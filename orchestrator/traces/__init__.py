"""What did runs do, and what would others have done?  Stored runs as typed records, and what is made of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.traces.diff import Diff, diff_of
    from orchestrator.traces.drawn import drawn_as
    from orchestrator.traces.frames import frame
    from orchestrator.traces.graph import graph_of
    from orchestrator.traces.html import html
    from orchestrator.traces.jsonl import import_runs, read
    from orchestrator.traces.policy import router_of
    from orchestrator.traces.record import RunRecord
    from orchestrator.traces.replay import Replayed, replayed
    from orchestrator.traces.tree import followed
    from orchestrator.traces.what_if import OneStep, one_step

__all__ = [
    "Diff",
    "OneStep",
    "Replayed",
    "RunRecord",
    "diff_of",
    "drawn_as",
    "followed",
    "frame",
    "graph_of",
    "html",
    "import_runs",
    "one_step",
    "read",
    "replayed",
    "router_of",
]

_HOMES = {
    "Diff": "diff",
    "OneStep": "what_if",
    "Replayed": "replay",
    "RunRecord": "record",
    "diff_of": "diff",
    "drawn_as": "drawn",
    "followed": "tree",
    "frame": "frames",
    "graph_of": "graph",
    "html": "html",
    "import_runs": "jsonl",
    "one_step": "what_if",
    "read": "jsonl",
    "replayed": "replay",
    "router_of": "policy",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _HOMES:
        return getattr(import_module(f"orchestrator.traces.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
