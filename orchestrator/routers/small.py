"""The small engine writes everything: the control that shows what routing adds."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.doors import Needs

__all__ = ["SmallOnly"]


@dataclass(frozen=True, kw_only=True)
class SmallOnly:
    """Keep every draft of the smallest engine. Both doors are the defaults."""

    needs = Needs(steps=False)
