"""A first try for real: how sure it was written decides whether it stands, and nobody is asked anything."""

from __future__ import annotations

import json

import pytest

import orchestrator as orc
from orchestrator.bench.workloads.generated import random_calculation
from orchestrator.modes import FirstTry

pytestmark = pytest.mark.embedded

TASKS = 16


def test_a_first_try_stands_where_it_was_written_surely_and_is_thought_about_elsewhere() -> None:
    policy = FirstTry(gate="written", threshold=0.7)
    read: dict[bool, list[float]] = {True: [], False: []}
    with orc.Pipeline(orc.engines.pocket_pair(), "large", mode=policy, db=":memory:") as pipeline:
        for task in random_calculation("direct").draw("calibration", 0, TASKS):
            run = pipeline.journal.run(pipeline.run(task).run_id)
            (again,) = (row for row in run.decisions if row.door == "reconsider")
            assert again.margin is not None
            stands = json.loads(again.detail)["name"] == "no_think"
            read[stands].append(0.7 + again.margin)
            assert {call.intent.purpose for call in run.calls} <= {"draft", "answer"}
            assert any("</think>" in row.text for row in run.kept()) != stands
    assert read[True] and read[False]
    assert max(read[False]) < 0.7 <= min(read[True])


@pytest.mark.parametrize("router", ["specreason", "cascade"])
def test_it_is_read_whoever_wrote_it(router: str) -> None:
    monitors = [orc.monitors.Every(moves=1)]
    with orc.Pipeline(orc.engines.pocket_pair(), router, monitors=monitors, mode="auto", db=":memory:") as pipeline:
        for task in random_calculation("direct").draw("calibration", 0, 6):
            run = pipeline.journal.run(pipeline.run(task).run_id)
            (again,) = (row for row in run.decisions if row.door == "reconsider")
            assert again.reason.startswith("written ")
            assert again.margin is not None
