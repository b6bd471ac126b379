"""What did runs do, and what would others have done?  Stored runs as typed records, and what is made of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.traces.frames import frame
    from orchestrator.traces.jsonl import import_runs, read
    from orchestrator.traces.record import RunRecord

__all__ = ["RunRecord", "frame", "import_runs", "read"]

_HOMES = {"RunRecord": "record", "frame": "frames", "import_runs": "jsonl", "read": "jsonl"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _HOMES:
        return getattr(import_module(f"orchestrator.traces.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
