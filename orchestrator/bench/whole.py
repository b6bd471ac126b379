"""One engine writes everything, in one call: what routing is measured against.

The routers `small` and `large` go step by step and pay for a request at every one. Who uses a single
engine does not, so a baseline that did would flatter every policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.decisions import Plan
from orchestrator.doors import Needs
from orchestrator.types import History

__all__ = ["Whole"]


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Let the cheapest or the most capable engine write the whole text at once."""

    needs = Needs(steps=False)
    engine: Literal["small", "large"]

    def before_step(self, history: History) -> Plan:
        """Plan the whole text; where a limit cuts it, the same engine goes on."""
        return Plan(engine=history.small if self.engine == "small" else history.large, whole=True)
