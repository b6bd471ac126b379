"""Learning from runs: behaviors for a handbook, and routers and monitors that are fitted on collected steps.

What people use from Python is here by name: `Strategist` learns behaviors, `Judge` says who judges where nobody has
checked, `curate` keeps a handbook small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.learning.curating import curate
    from orchestrator.learning.judging import Judge
    from orchestrator.learning.strategist import Learnt, Strategist

__all__ = ["Judge", "Learnt", "Strategist", "curate"]

_HOMES = {"Judge": "judging", "Learnt": "strategist", "Strategist": "strategist", "curate": "curating"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a router that is fitted needs none of them."""
    if name in _HOMES:
        return getattr(import_module(f"orchestrator.learning.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
