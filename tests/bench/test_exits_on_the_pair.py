"""Exits at work, for real: thoughts of the small engine are ended by a calibrated signal, and answers are kept."""

from __future__ import annotations

from json import loads
from typing import Any

import pytest

import orchestrator as orc
from orchestrator.bench.exit_controls import AtRandom, Knowing
from orchestrator.bench.exit_race import Ran, Way, against, oracle, run
from orchestrator.bench.workloads.generated import random_calculation
from orchestrator.learning.exits import exit_options, worst
from orchestrator.learning.watching import Watching
from orchestrator.monitors.exit_file import ExitFile
from orchestrator.monitors.overthinking import Overthinking
from orchestrator.monitors.trial_answer import TrialAnswer
from orchestrator.runtime.pipeline import Pipeline

pytestmark = pytest.mark.embedded

WORKLOAD = random_calculation("mid")
WATCHED, TASKS = 50, 40
LOOKING = TrialAnswer(acts=False)


def but(lent: Pipeline, *monitors: Any) -> Pipeline:
    return lent.but(router="small", scorers={}, seed=0, stop_on_answer=True, monitors=monitors, mode="think")


async def test_a_calibrated_exit_saves_tokens_and_loses_no_more_right_answers_than_was_asked_for() -> None:
    lent = Pipeline(orc.engines.pocket_pair(), "small", monitors=(), granularity="fused", db=":memory:")
    async with lent:
        watched = but(lent, LOOKING)
        watching = Watching(watched, WORKLOAD.draw("calibration", 0, WATCHED), LOOKING)
        await watching.run(2)
        known = ExitFile(
            signal="trial-answer",
            options=exit_options(LOOKING),
            mistake="harmful",
            worst=worst(watching.thoughts(), "harmful"),
            pair=(await watched.pair()).to_json(),
            under=await watched.circumstances(LOOKING),
            measured={},
            workload=WORKLOAD.name,
            split="calibration",
            fitted_on=tuple(watching.fingerprints),
            made="2026-11-27",
            package="0.1.0",
        )
        ways = {
            "whole": but(lent),
            "exit": but(lent, Overthinking(risk=0.05, learnt=known)),
            "knowing": but(lent, Knowing(when="candidates")),
            "random": but(lent, AtRandom(share=0.2)),
        }
        ran: dict[str, list[Ran]] = {name: [] for name in ways}
        for task in WORKLOAD.draw("report", 0, TASKS):
            for name, pipeline in ways.items():
                ran[name].append(await run(pipeline, Way(name), task))
        found = {
            name: against(rows, ran["whole"], [oracle(row) for row in ran["knowing"]]) for name, rows in ran.items()
        }
        assert found["whole"].exits == 0 and found["whole"].saved == 0
        assert found["exit"].exits > TASKS / 2
        assert found["exit"].saved > 0.1
        assert found["exit"].harmful <= 0.05 < found["random"].harmful
        assert found["knowing"].wrong == 0  # what it saw is what is answered
        assert 0 < found["knowing"].saved < found["exit"].saved  # it goes on where the answer is wrong

        for summary in lent.journal.runs(1000):
            events = lent.journal.run(summary.id).events
            looked_at = [loads(event.detail).get("answer") for event in events if event.kind == "overthinking"]
            assert looked_at in ([], [None], [summary.answer])
