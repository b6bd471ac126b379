"""The large engine writes everything: the control that shows what routing costs in quality."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.decisions import Plan
from orchestrator.doors import Needs
from orchestrator.types import History

__all__ = ["LargeOnly"]


@dataclass(frozen=True, kw_only=True)
class LargeOnly:
    """Let the largest engine write every step."""

    needs = Needs(steps=False)

    def before_step(self, history: History) -> Plan:
        """Plan the largest engine."""
        return Plan(engine=history.large)
