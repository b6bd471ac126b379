"""A router that learns by counting, so that what is lost or told twice can be seen; and runs of it in a process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from orchestrator.decisions import Plan
from orchestrator.doors import Needs
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import UserError
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import History, Message, Outcome, Task


@dataclass(frozen=True, kw_only=True)
class Counting:
    """Let the small engine write, and note who was told what."""

    needs = Needs(engines=2)
    seed: int = 0

    def before_step(self, history: History) -> Plan:
        seen = history.learned.get("ends", 0)
        return Plan(engine=history.small, reason=f"{seen} runs before", features=(1.0, float(seen)))

    def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Mapping[str, Any]:
        told = [*state.get("told", []), [outcome.run_id, outcome.reward, outcome.is_late]]
        return {"ends": state.get("ends", 0) + (not outcome.is_late), "told": told}


def counting(db: Any, *, answer: str = "42", **options: Any) -> Pipeline:
    """Return a pipeline whose small engine answers at once."""
    engines = {"small": Scripted(lambda request: f"\\boxed{{{answer}}}"), "large": Scripted(lambda request: "no")}
    return Pipeline(engines, Counting(), db=db, **options)


def asked(name: str, gold: str | None = None) -> Task:
    """Return a task; only one with a gold answer has its reward at the end."""
    return Task(messages=(Message("user", f"question {name}"),), answer=gold)


def live(path: str, name: str, times: str, what: str) -> None:
    """Run tasks, or reward the runs there are, one after the other, and print the number of each that is done."""
    with counting(path) as pipeline:
        for number in range(int(times)):
            if what == "run":
                pipeline.run(asked(f"{name} {number}", "42"), run_id=f"{name}{number}")
            else:
                with suppress(UserError):  # it has its reward from before a death
                    pipeline.reward(f"{name}{number}", 0.5)
            print(number, flush=True)
