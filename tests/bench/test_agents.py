"""A comparison of agents over scripted engines: tools in a shop, monitors, hand-overs and the way back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bench.folder import Folder
from orchestrator.bench.policies import policies_of
from orchestrator.bench.race import Plan, Race
from orchestrator.bench.sample import Sample
from orchestrator.bench.workloads.errands import errands
from orchestrator.bench.workloads.tool_tasks import Errand, plan
from orchestrator.bench.workloads.tool_tasks import errands as drawn
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import ToolPrompt
from orchestrator.errors import UserError
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget

ERRANDS = {errand.prompt: errand for errand, _ in zip(drawn("report", 0), range(40), strict=False)}
CASCADE = "cascade:turns=5:dwell=0+stuck:repeats=2"


def read(request: Request) -> tuple[Errand, list[str]]:
    """Return the errand of a request and what the tools have answered."""
    assert request.prompt is not None
    text = bytes(request.prompt.ids()).decode()
    errand = next(errand for prompt, errand in ERRANDS.items() if prompt in text)
    seen = [part.partition("\n")[0] for part in text.split("tool: ")[1:]]
    return errand, seen


def large(request: Request) -> str:
    """Work by the plan, whatever was called before, and answer with the last thing seen."""
    if request.purpose == "judge":
        return "CORRECT"
    errand, seen = read(request)
    shop, moves = errand.shop(), plan(errand)
    _, call = next(moves)
    for answer in seen:
        name, _, argument = call.removesuffix(")").partition("(")
        if shop.call(name, argument) != answer:  # the small engine's own: begin anew behind it
            shop = errand.shop()
            continue
        try:
            _, call = moves.send(answer)
        except StopIteration:
            return f"\\boxed{{{answer}}}"
    return f"<tool>{call}</tool>"


def small(request: Request) -> str:
    """Look the same thing up for ever."""
    read(request)
    return "<tool>lookup(moon)</tool>"


def compared(path: Path, *specs: str, tasks: int = 4, mode: str | None = None) -> dict[str, list[Sample]]:
    folder = Folder(path)
    made = errands("convert")
    of = Plan(made, "report", tasks, 1, policies_of(specs, made), 1, mode=mode)
    folder.begin({**of.settings(), "engines": []})
    engines = {"small": Scripted(small), "large": Scripted(large)}
    limits: dict[str, Any] = {"budget": Budget(steps=24), "tool_prompt": ToolPrompt(told="Tools: {names}.")}
    with Pipeline(engines, "small", db=folder.journal, **limits) as lent:
        asyncio.run(Race(lent, of, folder, lambda _: None).run())
    found: dict[str, list[Sample]] = {}
    for sample in folder.samples.values():
        found.setdefault(sample.policy, []).append(sample)
    return found


def test_a_cascade_meets_the_tasks_of_its_controls_with_tools_monitors_and_a_mode(tmp_path: Path) -> None:
    every = "small+every:moves=2:kind=budget"
    found = compared(tmp_path, CASCADE, every, mode="no_think")
    assert list(found) == ["small", "large", CASCADE, every]  # no random ones: `chance` is the control of monitors
    right = {name: sum(sample.is_right for sample in samples) for name, samples in found.items()}
    assert right == {"small": 0, "large": 4, CASCADE: 4, every: 0}
    for sample in found[CASCADE]:
        assert (sample.escalations, sample.returns, sample.events) == (1, 0, {"stuck": 1})
        assert sample.steps == sample.large_steps + 2  # it was noticed behind the second repeat
        assert "small/draft/used" in sample.purposes
    for sample in found[every]:
        assert (sample.escalations, sample.large_steps) == (0, 0)
        assert sample.events == {"budget": sample.steps // 2}
    assert {sample.status for sample in found["small"]} == {"budget"}


def test_a_comparison_in_another_mode_is_another_comparison(tmp_path: Path) -> None:
    compared(tmp_path, tasks=1, mode="no_think")
    with pytest.raises(UserError, match="mode"):
        compared(tmp_path, tasks=1)
