"""Which split owns a task, whoever ran it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.bench.workloads.base import Workload
from orchestrator.bench.workloads.errands import errands
from orchestrator.bench.workloads.generated import random_calculation, reasoning_gym
from orchestrator.bench.workloads.jsonl import jsonl
from orchestrator.bench.workloads.owner import split_of
from orchestrator.types import Message, Task

WORKLOADS = {
    "calculations": lambda: random_calculation("easy"),
    "every wording": lambda: random_calculation("easy", every_wording=True),
    "errands": errands,
    "arithmetic of reasoning-gym": lambda: reasoning_gym("chain_sum"),
    "words of reasoning-gym": lambda: reasoning_gym("leg_counting"),
}


@pytest.mark.parametrize("split", ["train", "calibration", "report"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workloads_task_is_owned_by_the_split_it_was_drawn_from(name: str, split: str) -> None:
    workload: Workload = WORKLOADS[name]()
    drawn = workload.draw(split, 3, 12)
    assert drawn and {split_of(task) for task in drawn} == {split}


def test_a_users_own_task_is_owned_by_the_split_that_bench_gives_its_file(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"How far is {n}?", "answer": "1"}) + "\n" for n in range(40)))
    workload = jsonl(str(file))
    for split in ("train", "calibration", "report"):
        drawn = workload.draw(split, 0, 40)
        assert drawn and {split_of(task) for task in drawn} == {split}


@pytest.mark.parametrize("id", ["calc-0123456789ab", "errand-6792002f406", "errand-", "-", "", None, "\ud800"])
def test_an_id_that_proves_nothing_is_the_users_own(id: str | None) -> None:
    asked = (Message("user", "Compute 17 + 25. \ud800"),)
    assert split_of(Task(messages=asked, id=id)) == split_of(Task(messages=asked))
