"""A comparison of agents over scripted engines: tools in a shop, monitors, hand-overs and the way back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from samples import made_up

from orchestrator.bench.agents import agents, control_of
from orchestrator.bench.agents_table import agents_in_words, agents_table
from orchestrator.bench.cost import Use
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
    assert {sample.in_a_row for sample in found["small"]} == {12}
    assert {sample.in_a_row for sample in found[CASCADE]} == {2}


def test_a_comparison_in_another_mode_is_another_comparison(tmp_path: Path) -> None:
    compared(tmp_path, tasks=1, mode="no_think")
    with pytest.raises(UserError, match="mode"):
        compared(tmp_path, tasks=1)


# ---- what a report says of agents


OURS, EVERY, LOT = "cascade:turns=2+stuck", "cascade:turns=2+every:moves=", "cascade:turns=2+chance:share=0.5"


def lines(name: str, right: str, tokens: float, **changes: Any) -> list[Sample]:
    """Samples of tasks that are right where the text has an x, each of so many tokens by the large engine."""
    return [
        made_up(name, task, right=mark == "x", uses={"small": Use(), "large": Use(decode=int(tokens))}, **changes)
        for task, mark in enumerate(right)
    ]


def by_label(*given: list[Sample]) -> dict[str, list[Sample]]:
    return {samples[0].policy: samples for samples in given}


COSTS = {"tokens": lambda sample: float(sample.uses["large"].decode)}
CONTROLS = (lines("small", ".." * 20, 0), lines("large", "xx" * 20, 100))


@pytest.mark.parametrize(
    "label, control",
    [
        ("cascade+every:moves=3", "every"),
        ("cascade:turns=2+chance+mode=think", "chance"),
        ("cascade+every+stuck", ""),
        ("cascade+stuck", ""),
        ("every", ""),
        ("large+mode=think", ""),
    ],
)
def test_a_control_has_a_monitor_that_notices_nothing_and_no_other(label: str, control: str) -> None:
    assert control_of(label) == control


def test_cost_and_success_are_shares_of_always_large() -> None:
    found = agents(by_label(*CONTROLS, lines(OURS, "x." * 20, 40, returns=1, ratings=2)), COSTS)
    assert found is not None
    ours = found[OURS]
    assert ours["cost_versus_large"]["tokens"] == (0.4, 0.4, 0.4)
    assert ours["right_versus_large"].value == 0.5
    assert (ours["returns_per_task"], ours["ratings_per_task"]) == (1, 2)
    assert found["large"]["cost_versus_large"]["tokens"].value == 1
    assert ours["at_equal_cost"] == {"tokens": {}}


def test_controls_are_compared_at_the_policys_cost_on_their_front() -> None:
    rows = by_label(
        *CONTROLS,
        lines(OURS, "xx.." * 10, 40),
        lines(f"{EVERY}1", "xxx." * 10, 80),
        lines(f"{EVERY}3", "...." * 10, 30),  # worse than a mixture of small and large: not on the front
        lines(LOT, "...." * 10, 90),
        lines("cascade:turns=3+every:moves=1", "xxxx" * 10, 10),  # another router's control
    )
    found = agents(rows, COSTS)
    assert found is not None
    at = found[OURS]["at_equal_cost"]["tokens"]
    assert set(at) == {"every", "chance"}
    assert at["every"].value == pytest.approx(0.5 - 0.4)  # small and large come to 0.4, and every:moves=1 lies below
    assert at["chance"].value == pytest.approx(0.5 - 0.4)
    assert at["chance"].low < 0.1 < at["chance"].high
    assert found[LOT]["at_equal_cost"] == {}


def test_what_was_noticed_is_a_share_of_all_runs_of_right_ones_and_of_healthy_ones() -> None:
    some = lines(OURS, "xx.." * 10, 40)
    some = [replace(each, events={"stuck": 3} if int(each.task) % 4 in (0, 2) else {}) for each in some]

    def shares(*in_a_row: int | None, **changes: Any) -> dict[str, float]:
        counted = [replace(each, in_a_row=in_a_row[int(each.task) % 4]) for each in some]
        counted[-1] = replace(counted[-1], **changes)
        found = agents(by_label(*CONTROLS, counted), COSTS)
        assert found is not None
        return {name: share.value for name, share in found[OURS]["noticed"]["stuck"].items()}

    assert shares(2, 2, 2, 2) == {"all": 0.5, "right": 0.5, "healthy": 0.5}
    assert shares(3, 0, 9, 9) == {"all": 0.5, "right": 0.5, "healthy": 0.0}
    assert shares(1, 3, 1, 1) == {"all": 0.5, "right": 0.5, "healthy": 1.0}
    assert shares(2, 2, 2, 2, escalations=1) == {"all": 0.5, "right": 0.5}  # nobody can say of a run handed over
    assert shares(9, 9, 0, 0) == {"all": 0.5, "right": 0.5}
    assert shares(None, None, None, None) == {"all": 0.5, "right": 0.5}


def test_without_monitors_there_is_nothing_to_say() -> None:
    assert agents(by_label(*CONTROLS, lines("specreason:threshold=7", "xx" * 20, 50)), COSTS) is None


def test_a_report_has_costs_what_was_noticed_and_a_sentence_for_each_control() -> None:
    found = agents(
        by_label(*CONTROLS, lines(OURS, "xx.." * 10, 40, events={"stuck": 1}, in_a_row=2), lines(LOT, "." * 40, 90)),
        COSTS,
    )
    assert found is not None
    policies = {label: {"escalations_per_task": 0.5} for label in found}
    summary = {"agents": found, "prices": ["tokens"], "policies": policies}
    names = dict.fromkeys(found, "any") | {OURS: "ours"}
    costs, seen = agents_table(summary, names)
    [line] = [each for each in costs.splitlines() if each.startswith("ours")]
    assert line.split() == ["ours", "50%", "[35,", "65]", "40%", "[40,", "40]", "0.50", "0.00", "0.00"]
    right = ["100.0", "[83.9,", "100.0]"]
    assert seen.splitlines()[1].split() == ["ours", "stuck", "100.0", "[91.2,", "100.0]", *right, *right]
    broken = agents_table(summary, names | {OURS: "ours" * 8})[1].split("\n\n")
    assert len(broken) > 1 and all(each.splitlines()[1].split()[1] == "stuck" for each in broken)
    del found[OURS]["noticed"]["stuck"]["healthy"]  # of results of before it was counted
    header, row, *_ = agents_table(summary, names)[1].splitlines()
    assert "healthy" not in header and row.split() == ["ours", "stuck", "100.0", "[91.2,", "100.0]", *right]
    [sentence] = agents_in_words(summary, names).split("\n\n")
    assert " ".join(sentence.split()).startswith("ours is right +10.0 [")
    assert "best mixture of `chance`, small-only and large-only at the same cost" in " ".join(sentence.split())
    assert agents_table({"prices": []}, {}) == []
    assert agents_in_words({}, {}) == ""
