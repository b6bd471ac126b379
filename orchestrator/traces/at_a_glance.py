"""A run on one line of a list."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from orchestrator.memory.base import RunSummary
from orchestrator.visible import first_words

__all__ = ["Columns"]

_SHORTEST_QUESTION = 9
_NARROW = 90
_USUAL = 80
_BESIDE = 31
"""What every line has: the id, the status, and what is between them and the question."""
_FIGURES = {"steps": 5, "large": 5, "s": 6, "cost": 8}
_DAY = 11
_LEAST = ("steps", "s", "large", "cost", "started")
"""Columns that are left out where there is no room for them, the first one first."""


class Columns(NamedTuple):
    """How wide the columns of a list are; below 40 columns its lines are longer than that."""

    has_cost: bool
    width: int

    @property
    def is_narrow(self) -> bool:
        """There is no room for both a day and a time."""
        return self.width < (_NARROW if self.has_cost else _USUAL)

    def titles(self) -> str:
        shown = self._shown()
        started = f"{'started':<{shown['started']}} " if "started" in shown else ""
        return f"{'run':<16}  {started}{'status':<11}{self._figures(dict(zip(shown, shown, strict=True)))}  asked"

    def cells(self, run: RunSummary) -> tuple[str, str, str]:
        """Return what stands before the status, the status, and what stands behind it."""
        figures = {
            "steps": str(run.steps),
            "large": "-" if run.large_share is None else f"{run.large_share:.0%}",
            "s": "-" if run.seconds is None else f"{run.seconds:.1f}",
            "cost": "-" if run.cost is None else f"{run.cost:.4g}",
        }
        started = f"{self._started(run.created_s)} " if "started" in self._shown() else ""
        begin, status = f"{run.id:<16}  {started}", f"{run.status:<11}"
        rest = f"{self._figures(figures)}  "
        room = self.width - len(begin) - len(status) - len(rest)
        return begin, status, rest + first_words(run.question, max(room, _SHORTEST_QUESTION))

    def _shown(self) -> dict[str, int]:
        """Return the columns that there is room for, and how wide they are."""
        shown = {"started": _DAY if self.is_narrow else 16, **_FIGURES}
        if not self.has_cost:
            del shown["cost"]
        for name in _LEAST:
            if _BESIDE + sum(shown.values()) + len(shown) + _SHORTEST_QUESTION <= self.width:
                break
            shown.pop(name, None)
        return shown

    def _figures(self, told: dict[str, str]) -> str:
        return "".join(f" {told[name]:>{size}}" for name, size in self._shown().items() if name in _FIGURES)

    def _started(self, created_s: float) -> str:
        """Return day and time; where only one has room, the time only of days of this year."""
        started = datetime.fromtimestamp(created_s).astimezone()
        if not self.is_narrow:
            return f"{started:%Y-%m-%d %H:%M}"
        return f"{started:%m-%d %H:%M}" if started.year == datetime.now().year else f"{started:%Y-%m-%d} "
