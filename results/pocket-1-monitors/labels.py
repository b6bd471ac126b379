"""What labels the runs of this folder: the rules of its cascade together, and what is progress on an errand."""

from __future__ import annotations

from orchestrator.bench.workloads.tool_tasks import ITEMS
from orchestrator.monitors import Milestone, Redundant, Stuck, Ungrounded
from orchestrator.types import Event, History


class Astray:
    """Raise `stuck` where one of the three rules does."""

    rules = (Ungrounded(kind="stuck"), Redundant(kind="stuck"), Stuck())

    def watch(self, history: History) -> Event | None:
        """Ask one after the other."""
        return next((event for rule in self.rules if (event := rule.watch(history)) is not None), None)


astray = Astray()
progress = Milestone(subgoals=[*(rf"regex:lookup\({item}" for item in ITEMS), r"regex:convert\(", "list()"], every=0)
"""The price of an item is known, or that of all, or an amount is converted: each for the first time."""
