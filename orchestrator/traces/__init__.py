"""What did runs do, and what would others have done?  Stored runs as typed records, and what is made of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.traces.candidate import Candidate
    from orchestrator.traces.diff import Diff, diff_of
    from orchestrator.traces.drawn import drawn_as
    from orchestrator.traces.frames import frame
    from orchestrator.traces.graph import graph_of
    from orchestrator.traces.html_page import html
    from orchestrator.traces.jsonl import import_runs, read
    from orchestrator.traces.many import Together
    from orchestrator.traces.opened import Listing, Span, Traces, open
    from orchestrator.traces.policy import router_of
    from orchestrator.traces.record import RunRecord
    from orchestrator.traces.replay import Replayed, replayed
    from orchestrator.traces.run import Run, of
    from orchestrator.traces.searching import Found, Hit, search
    from orchestrator.traces.stats import Stats, Which, by_policy, stats_of
    from orchestrator.traces.step import step_of
    from orchestrator.traces.stored_ledger import StoredLedger
    from orchestrator.traces.tree import followed
    from orchestrator.traces.what_if import OneStep, WhatIf, one_step

__all__ = [
    "Candidate",
    "Diff",
    "Found",
    "Hit",
    "Listing",
    "OneStep",
    "Replayed",
    "Run",
    "RunRecord",
    "Span",
    "Stats",
    "StoredLedger",
    "Together",
    "Traces",
    "WhatIf",
    "Which",
    "by_policy",
    "diff_of",
    "drawn_as",
    "followed",
    "frame",
    "graph_of",
    "html",
    "import_runs",
    "of",
    "one_step",
    "open",
    "read",
    "replayed",
    "router_of",
    "search",
    "stats_of",
    "step_of",
]

_HOMES = {
    "Candidate": "candidate",
    "Diff": "diff",
    "Found": "searching",
    "Hit": "searching",
    "Listing": "opened",
    "OneStep": "what_if",
    "Replayed": "replay",
    "Run": "run",
    "RunRecord": "record",
    "Span": "opened",
    "Stats": "stats",
    "StoredLedger": "stored_ledger",
    "Together": "many",
    "Traces": "opened",
    "WhatIf": "what_if",
    "Which": "stats",
    "by_policy": "stats",
    "diff_of": "diff",
    "drawn_as": "drawn",
    "followed": "tree",
    "frame": "frames",
    "graph_of": "graph",
    "html": "html_page",
    "import_runs": "jsonl",
    "of": "run",
    "one_step": "what_if",
    "open": "opened",
    "read": "jsonl",
    "replayed": "replay",
    "router_of": "policy",
    "search": "searching",
    "stats_of": "stats",
    "step_of": "step",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _HOMES:
        return getattr(import_module(f"orchestrator.traces.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
