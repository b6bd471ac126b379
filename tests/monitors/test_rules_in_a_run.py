"""What rule monitors notice while a pipeline runs an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator import Pipeline
from orchestrator.decisions import Decision, Plan, keep
from orchestrator.engines.scripted import Scripted
from orchestrator.monitors import Milestone, Spent, Stuck
from orchestrator.types import Event, History, Step


class Hears:
    """Lets everything stand and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def before_step(self, history: History) -> Plan:
        return Plan(engine="small")

    async def after_draft(self, history: History, draft: Step, ask: Any) -> Decision:
        return keep()

    async def on_events(self, history: History, events: Sequence[Event], ask: Any) -> Decision:
        self.told += [(event.kind, event.step) for event in events]
        return keep()


def lookup(item: str) -> str:
    """Look up the price of an item."""
    raise ValueError("busy")


def test_an_agent_in_a_loop_is_noticed_behind_the_third_answer_and_then_left_in_peace() -> None:
    script = [f"Try {number}.<tool>lookup(x)</tool>" for number in range(6)] + ["\\boxed{1}"]
    router = Hears()
    monitors = [Stuck(), Milestone(subgoals=("lookup(x)",), every=4), Spent(tokens=100)]
    small = Scripted(script, name="small")
    with Pipeline({"small": small}, router, tools=[lookup], monitors=monitors, think=False) as made:
        result = made.run("What is it?")
    assert len(result.steps) == 13
    assert router.told == [("budget", 3), ("stuck", 5), ("budget", 5), ("milestone", 7), ("budget", 7)]
