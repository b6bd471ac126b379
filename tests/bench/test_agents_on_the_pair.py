"""The pocket pair on errands: a cascade hands over and comes back, and a planted loop is noticed in time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bench.workloads.errands import errands
from orchestrator.engines.pocket import pocket_pair
from orchestrator.monitors import Redundant, Stuck, Ungrounded
from orchestrator.routers import Cascade
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget, StepKind, Task

pytestmark = pytest.mark.embedded

BUSY = "error: busy"
CASCADE = Cascade(turns=1, dwell=0, stay=1, on_stuck="retake", on_milestone="ignore", over_errors=True)


def pair(router: Any, *monitors: Any, workload: Any, db: Path) -> Pipeline:
    return Pipeline(
        pocket_pair(temperature=0.0),
        router,
        monitors=monitors,
        tools=workload.tools,
        mode="no_think",
        budget=Budget(steps=24),
        db=db,
    )


def test_a_call_from_nowhere_is_made_again_by_the_large_engine_and_the_small_one_goes_on(tmp_path: Path) -> None:
    workload = errands("convert")
    tasks = workload.draw("calibration", 0, 12)
    monitors = Ungrounded(kind="stuck"), Redundant(kind="stuck"), Stuck()
    right = handed = 0
    with pair(CASCADE, *monitors, workload=workload, db=tmp_path / "db") as pipeline:
        for task in tasks:
            result = pipeline.run(task)
            right += result.answer == task.answer
            writers = [step.writer for step in result.steps if step.kind is not StepKind.OBSERVATION]
            taken = [row.action for row in pipeline.journal.run(result.run_id).decisions if row.action[:4] == "hand"]
            if "large" in writers:
                handed += 1
                assert taken[0] == "handoff"
                assert taken.count("handback") >= 1 or writers[-1] == "large"
    assert handed >= 3
    assert right >= 9


def always_busy(task: Task) -> list[Any]:
    """A planted loop: whatever is called, and however often, is busy."""

    def calc(expression: str) -> str:
        return BUSY

    def lookup(item: str) -> str:
        return BUSY

    def list() -> str:
        return BUSY

    def convert(amount: str, unit: str) -> str:
        return BUSY

    return [calc, lookup, list, convert]


@pytest.mark.parametrize("engine", ["small", "large"])
def test_a_planted_loop_is_noticed_by_the_third_repeat(engine: str, tmp_path: Path) -> None:
    workload = replace(errands(), tools=always_busy)
    loops = 0
    with pair(engine, Stuck(), workload=workload, db=tmp_path / "db") as pipeline:
        for task in workload.draw("calibration", 0, 12):
            result = pipeline.run(task)
            calls = [step for step in result.steps if step.kind is StepKind.ACTION]
            said = [step.text for step in calls]
            thirds = (step for place, step in enumerate(calls) if said[: place + 1].count(step.text) == 3)
            third = next(thirds, None)
            if third is not None:
                loops += 1
                told = [row.step for row in pipeline.journal.run(result.run_id).events if row.kind == "stuck"]
                assert told[0] <= third.index + 1
    assert loops >= 6
