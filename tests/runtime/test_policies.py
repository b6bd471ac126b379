"""The routers of the table on whole runs: after the death of their process, and on real models."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pure_engine import QUESTION, content, pure, stored

import orchestrator as orc
from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.engines.scripted import Scripted
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.routers import RSD, AnswerGate, Entropy, Hybrid, SpeculativeThinking
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.timeline import timeline
from orchestrator.types import Budget, Status

POLICIES: dict[str, Any] = {
    "rsd": RSD(threshold=0.6, scorer="judge-average"),
    "entropy": Entropy(threshold=1.0, window=1, dwell=1, top=3),
    "speculative-thinking": SpeculativeThinking(look_tokens=9, negative=("step",), doubts=2, most_doubts=2),
    "answer-gate": AnswerGate(gate="agreement", num=2),
    "hybrid": Hybrid(keep="judge >= 5 and entropy_max < 1.5", top=3),
}


class Death(BaseException):
    """Stands for the end of a process: nothing of ours handles it."""


def pipeline(router: Any, db: Path, dies_after: int = 10**9) -> Pipeline:
    left = dies_after

    def boundary() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Death

    engines = {name: Scripted(pure(name, boundary=boundary), family=name) for name in ("small", "large")}
    return Pipeline(engines, router, db=db, budget=Budget(tokens=100_000))


def run_through(router: Any, db: Path, *deaths: int) -> dict[str, Any]:
    """Run, dying after so many calls have begun or ended, and then once more to the end."""
    for dies_after in (*deaths, 10**9):
        with pipeline(router, db, dies_after) as made:
            try:
                made.run(QUESTION, run_id="it")
            except Death:
                continue
    found = stored(db, "it")
    assert found is not None
    return content(found)


@pytest.mark.parametrize("name", POLICIES)
def test_a_run_that_died_goes_on_to_the_same_end(name: str, tmp_path: Path) -> None:
    whole = run_through(POLICIES[name], tmp_path / "whole.db")
    assert len({step[2] for step in whole["steps"]}) >= 1
    for dies_after in (1, 6, 13):
        assert run_through(POLICIES[name], tmp_path / f"{dies_after}.db", dies_after, 5) == whole


TASKS = [each.prompt for each in islice(calculations("mid", "calibration", 0), 4)]
ON_MODELS: dict[str, Any] = {
    "rsd": RSD(threshold=0.5),
    "entropy": Entropy(),
    "speculative-thinking": SpeculativeThinking(),
    "answer-gate": AnswerGate(),
    "answer-gate by agreement": AnswerGate(gate="agreement", threshold=0.75),
    "answer-gate by force": AnswerGate(gate="forced", threshold=0.75),
    "hybrid": Hybrid(keep="entropy_max < 0.5 and prm > 0.5"),
    "hybrid by weights": Hybrid(weights={"prm": 2.0, "margin_min": 1.0}, threshold=1.5),
}


@pytest.mark.embedded
@pytest.mark.parametrize("name", ON_MODELS)
def test_on_the_pocket_pair_it_comes_to_an_answer_and_every_decision_is_in_the_journal(
    name: str, tmp_path: Path
) -> None:
    engines = {"scorer": orc.engines.pocket_scorer(), **orc.engines.pocket_pair()}
    with Pipeline(engines, ON_MODELS[name], db=tmp_path / "journal.db") as made:
        results = [made.run(task) for task in TASKS]
    assert {result.status for result in results} == {Status.COMPLETED}
    assert all(result.answer for result in results)
    writers = {step.writer for result in results for step in result.steps}
    assert writers <= {"small", "large"}
    with Store(tmp_path / "journal.db", readonly=True) as store:
        runs = [Journal(store).run(result.run_id) for result in results]
    for run in runs:
        assert any(row.door == "after_draft" for row in run.decisions)
        # A plan may say no more than how long steps may be: that is on disk so that a resumed run knows it.
        assert all(row.reason or (row.action == "plan" and row.detail) for row in run.decisions)


@pytest.mark.embedded
def test_the_timeline_shows_a_score_in_the_unit_of_its_threshold(tmp_path: Path) -> None:
    engines = {"scorer": orc.engines.pocket_scorer(), **orc.engines.pocket_pair()}
    with Pipeline(engines, RSD(threshold=0.5), db=":memory:") as made:
        run = made.journal.run(made.run("Compute 12+7-4.").run_id)
    [first, *_] = [row for row in run.decisions if row.door == "after_draft"]
    signal = next(each for each in run.signals if each.step == first.step)
    assert signal.value is not None
    assert f" {signal.value:.3f} 0.500 " in timeline(run, width=100).plain
