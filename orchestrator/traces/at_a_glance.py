"""A run on one line of a list."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from orchestrator.memory.base import RunSummary
from orchestrator.visible import first_words

__all__ = ["Columns"]

_SHORTEST_QUESTION = 9
_NARROW = 90


class Columns(NamedTuple):
    """How wide the columns of a list are."""

    has_cost: bool
    width: int

    @property
    def is_narrow(self) -> bool:
        """There is no room for both a day and a time."""
        return self.has_cost and self.width < _NARROW

    def titles(self) -> str:
        started = f"{'started':<11}" if self.is_narrow else f"{'started':<16}"
        cost = f" {'cost':>8}" if self.has_cost else ""
        return f"{'run':<16}  {started} {'status':<11} {'steps':>5} {'large':>5} {'s':>6}{cost}  asked"

    def cells(self, run: RunSummary) -> tuple[str, str, str]:
        """Return what stands before the status, the status, and what stands behind it."""
        share = "-" if run.large_share is None else f"{run.large_share:.0%}"
        seconds = "-" if run.seconds is None else f"{run.seconds:.1f}"
        cost = (" " + ("-" if run.cost is None else f"{run.cost:.4g}").rjust(8)) if self.has_cost else ""
        begin, status = f"{run.id:<16}  {self._started(run.created_s)} ", f"{run.status:<11}"
        rest = f" {run.steps:>5} {share:>5} {seconds:>6}{cost}  "
        room = self.width - len(begin) - len(status) - len(rest)
        return begin, status, rest + first_words(run.question, max(room, _SHORTEST_QUESTION))

    def _started(self, created_s: float) -> str:
        """Return day and time; where only one has room, the time only of days of this year."""
        started = datetime.fromtimestamp(created_s).astimezone()
        if not self.is_narrow:
            return f"{started:%Y-%m-%d %H:%M}"
        return f"{started:%m-%d %H:%M}" if started.year == datetime.now().year else f"{started:%Y-%m-%d} "
