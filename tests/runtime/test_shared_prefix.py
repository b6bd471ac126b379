"""What behaviors cost an engine that has read them: tasks that recall the same ones share the prompt's beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestrator as orc
from orchestrator.behaviors import Add
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.runtime.in_force import recalled_in

WORDS = ("left", "right", "units", "tens", "sign", "order")


@pytest.mark.embedded
def test_tasks_that_recall_the_same_behaviors_read_them_once(tmp_path: Path) -> None:
    small = {"small": orc.engines.pocket_pair()["small"]}
    with Store(tmp_path / "handbook.db") as store:
        handbook = Handbook(store)
        handbook.apply([Add(f"behavior_{word}", f"Compute what is {word} before the rest.") for word in WORDS])
        with orc.Pipeline(
            small, "small", handbook=handbook, db=tmp_path / "journal.db", budget=orc.Budget(tokens=8)
        ) as pipeline:
            runs = [
                pipeline.journal.run(pipeline.run(f"Compute the {' '.join(order)} of this.").run_id)
                for order in (WORDS, WORDS[::-1], WORDS[3:] + WORDS[:3])  # found in another order each time
            ]
    recalled = [recalled_in(run) for run in runs]
    assert all(each is not None and [one.id for one in each.shown] == [1, 2, 3, 4, 5, 6] for each in recalled)
    for run, shown in zip(runs[1:], recalled[1:], strict=True):
        result = run.calls[0].result
        assert shown is not None and result is not None and result.cached_tokens is not None
        assert shown.num_tokens <= result.cached_tokens < result.prompt_tokens
