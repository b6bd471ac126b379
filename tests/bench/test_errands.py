"""Errands as a workload: tasks by preset and split, and a shop of its own for every run."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.bench.workloads import tool_tasks, workload_of
from orchestrator.bench.workloads.errands import PRESETS, errands
from orchestrator.errors import UnknownName, UserError
from orchestrator.types import Task


def called(tools: Any, name: str, *given: str) -> str:
    (found,) = [tool for tool in tools if tool.__name__ == name]
    return str(found(*given))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_draws_different_tasks_of_its_kind_and_the_same_again(preset: str) -> None:
    made = errands(preset)
    tasks = made.draw("report", 0, 12)
    assert len({task.id for task in tasks}) == 12
    assert made.draw("report", 0, 12) == tasks
    assert not {task.id for task in tasks} & {task.id for task in made.draw("calibration", 0, 12)}
    asks = {"buy": "What is the price of", "busy": "What is the price of", "convert": "How many"}
    assert all(task.messages[0].content.startswith(asks.get(preset, "")) for task in tasks)


def test_a_task_is_the_prompt_alone_and_its_answer_is_checked_exactly() -> None:
    made = errands()
    task = made.draw("calibration", 0, 1)[0]
    (message,) = task.messages
    assert (message.role, tool_tasks.SYSTEM in message.content) == ("user", False)
    assert made.score(task, task.answer) == 1
    assert made.score(task, f"{task.answer}1") == made.score(task, None) == 0


def test_every_run_has_a_shop_of_its_own_with_the_tools_in_the_order_the_pair_knows() -> None:
    made = errands("busy")
    assert made.tools is not None
    task = made.draw("report", 0, 1)[0]
    one, other = made.tools(task), made.tools(task)
    assert [tool.__name__ for tool in one] == ["calc", "lookup", "list", "convert"]
    assert [called(one, "lookup", "pen") for _ in range(3)] == ["error: busy"] * 3
    assert called(one, "list") == called(other, "list")
    assert called(one, "calc", "2*3+4") == "10"
    assert called(errands("convert").draw("report", 0, 1) and other, "convert", "3 km", "m") == "3000"
    for _ in range(9):
        seen = called(other, "lookup", "pen")
    assert (seen, called(one, "lookup", "pen")) == ("error: busy", "error: busy")
    assert called(one, "calc", "2*").startswith("error")


def test_a_plan_that_is_followed_through_the_tools_comes_to_the_answer() -> None:
    made = errands()
    assert made.tools is not None
    drawn = {errand.id: errand for errand, _ in zip(tool_tasks.errands("report", 3), range(40), strict=False)}
    for task in made.draw("report", 3, 20):
        assert _worked(made.tools(task), drawn[str(task.id)]) == task.answer


def _worked(tools: Any, errand: tool_tasks.Errand) -> str:
    moves = tool_tasks.plan(errand)
    _, call = next(moves)
    while True:
        name, _, argument = call.removesuffix(")").partition("(")
        given = argument.split(", ") if name == "convert" else [argument] if argument else []
        seen = called(tools, name, *given)
        try:
            _, call = moves.send(seen)
        except StopIteration:
            return seen


def test_what_is_no_preset_or_no_option_is_refused() -> None:
    with pytest.raises(UnknownName, match="no preset named 'sell'; known: all, buy, convert, busy"):
        errands("sell")
    with pytest.raises(UserError, match="its options: preset"):
        workload_of("errands", {"kind": "buy"})


def test_a_task_that_was_not_drawn_has_no_shop() -> None:
    made = errands()
    assert made.tools is not None
    with pytest.raises(KeyError):
        made.tools(Task.of("What is the price of 2 pen?"))
