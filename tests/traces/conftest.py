"""What the tests of traces share: a journal of runs of every kind."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.decisions import Decision, keep, rewrite, rollback
from orchestrator.doors import Ask, Needs
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineProtocol
from orchestrator.memory.base import CallIntent
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.tools import tool
from orchestrator.traces.jsonl import read
from orchestrator.traces.record import RunRecord
from orchestrator.types import History, Step, Task

sys.path.append(str(Path(__file__).parents[1] / "runtime"))  # pipelines of the runtime's tests


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Goes back, or rewrites, where a draft says so."""

    needs = Needs(engines=2)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        if draft.text.startswith("Back"):
            return rollback(1, reason="wrong turn")
        if draft.text.startswith("Bad"):
            return rewrite(history.large, reason="bad", threshold=7.0, margin=-5.0, alternatives=("keep", "rollback"))
        return keep(reason="fine", threshold=7.0, margin=2.0)


@tool(idempotent=True)
def look(at: str) -> str:
    """Look at something."""
    return f"a {at}\x1b[2J"


def agent(db: Path) -> Pipeline:
    small = ["First.\n\n", "Bad idea.\n\n", "<tool>look(pen)</tool>", "Back!\n\n", "Other \udcff\n\n", "\\boxed{2}"]
    engines = {"small": Scripted(small), "large": Scripted(["Better.\n\n"])}
    return Pipeline(engines, Reads(), tools=(look,), mode="agentic", db=db)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of a run with every kind of step, a fork of it, one that failed and one that never ended."""
    path = tmp_path_factory.mktemp("traces") / "journal.db"
    with agent(path) as made:
        made.run(Task.of("What is 1+1?"), run_id="one")
        made.graph.invoke({"run": "one", "step": 2})
    broken = Pipeline({"small": Scripted([EngineProtocol("it spoke in tongues", engine="small")])}, "small", db=path)
    with broken:
        broken.run(Task.of("Again?"), run_id="two")
    with Store(path) as store:
        row = Journal(store).run("one").run
        key = (journal := Journal(store)).open_run(row._replace(id="three", batch="b", position=4))
        journal.intent(CallIntent(key, 0, 0, 0, "draft", "small", 1, b"\x01" * 16, 9, 5, row.created_s))
        journal.close()
    return path


@pytest.fixture(scope="module")
def runs(db: Path) -> dict[str, RunRecord]:
    """Its runs as records, by id; that of the fork is `fork`."""
    found = {run.id: run for run in read(db)}
    return {"fork" if run.parent else name: run for name, run in found.items()}
