"""The benchmark of exits calibrates on all of its tasks, or not at all."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineRejected, UserError
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Message, Task

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def answers_all_but_the_last(request: Request) -> str:
    if b"task 3" in bytes(request.prompt.ids()):
        raise EngineRejected("not this one", engine="large")
    return "so\n\n\\boxed{5}"


async def test_where_a_run_failed_no_calibration_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    calibrated = import_module("exits").calibrated
    tasks = [Task(messages=(Message("user", f"task {number}"),), answer="5") for number in range(4)]
    async with Pipeline({"large": Scripted(answers_all_but_the_last)}, "large", monitors=(), db=":memory:") as lent:
        with pytest.raises(
            UserError, match=r"^trial-answer candidates: 1 of 4 runs failed; no calibration is written$"
        ):
            await calibrated(lent, tasks, tmp_path / "large-mid")
    assert list(tmp_path.iterdir()) == []
