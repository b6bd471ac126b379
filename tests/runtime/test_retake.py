"""A turn is taken back: another engine writes in its place, and a simulation goes back with the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.decisions import Decision, Handoff
from orchestrator.doors import Ask
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import UserError
from orchestrator.monitors import Every
from orchestrator.routers import Cascade, SmallOnly
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.timeline import timeline
from orchestrator.tools import tool
from orchestrator.types import Event, History, StepKind

RETAKE = Cascade(on_stuck="retake", on_milestone="ignore", turns=1, dwell=0, stay=1)
CALL = "<tool>count()</tool>"


class Death(BaseException):
    """Stands for the end of a process: nothing of ours handles it."""


def says(*script: str) -> Scripted:
    rest = iter(script)

    def answer(request: Request) -> str:
        if (said := next(rest)) == "die":
            raise Death
        return said

    return Scripted(answer)


def counting() -> Callable[[], str]:
    seen: list[int] = []

    def count() -> str:
        """Count how often this was called."""
        seen.append(1)
        return str(len(seen))

    return count


def made(small: Scripted, large: Scripted, db: Path | str = ":memory:", **options: Any) -> Pipeline:
    given = {"router": RETAKE, "monitors": (Every(moves=2),), **options}
    return Pipeline({"small": small, "large": large}, db=db, **given)


def observed(result: RunResult) -> list[tuple[int, str, str]]:
    kept = [step for step in result.steps if step.kind is StepKind.OBSERVATION]
    return [(step.index, step.text, result.steps[step.index - 1].writer) for step in kept]


@pytest.mark.parametrize("is_simulation, second", [(True, "2"), (False, "3")], ids=["simulation", "idempotent"])
def test_the_turn_is_made_again_by_the_next_engine_and_the_run_comes_back(is_simulation: bool, second: str) -> None:
    tools: Any = (lambda task: [counting()]) if is_simulation else [tool(idempotent=True)(counting())]
    with made(says(CALL, CALL, "\\boxed{4}"), says(CALL), tools=tools) as pipeline:
        result = pipeline.run("Count.")
        rows = pipeline.journal.run(result.run_id).decisions
    assert observed(result) == [(1, "1", "small"), (3, second, "large")]
    assert (result.answer, result.steps[-1].writer) == ("4", "small")
    assert [(row.step, row.action) for row in rows if row.action.startswith("hand")] == [
        (4, "handoff"),
        (4, "handback"),
    ]
    assert {(engine, fate): entry.calls for engine, purpose, fate, entry in result.ledger if purpose == "draft"} == {
        ("small", "used"): 2,
        ("small", "discarded"): 1,
        ("large", "used"): 1,
    }


def test_what_was_decided_behind_a_turn_that_was_made_again_is_told_behind_it() -> None:
    monitors = (Every(moves=2), Every(moves=1, kind="look"))
    tools: Any = lambda task: [counting()]  # noqa: E731
    with made(says(CALL, CALL, "\\boxed{4}"), says(CALL), tools=tools, monitors=monitors) as pipeline:
        result = pipeline.run("Count.")
        shown = timeline(pipeline.journal.run(result.run_id)).plain.splitlines()
    told = [" ".join(line.split()[:3]) for line in shown if line[:4].strip().isdigit() or line.startswith("  -- ")]
    assert told == [
        *("0 small kept", "1 count observed", "-- look: move", "-- went on:"),
        *("2 small x", "3 count x", "-- stuck: move", "-- look: move", "-- to large"),
        *("2 large kept", "3 count observed", "-- stuck: move", "-- look: move", "-- went on:", "-- handed back:"),
        *("4 small kept", "-- look: move", "-- went on:"),
    ]


def test_what_a_tool_did_for_good_is_not_taken_back() -> None:
    with made(says(CALL, CALL, "\\boxed{4}"), says(CALL), tools=[counting()]) as pipeline:
        result = pipeline.run("Count.")
        [row] = [row for row in pipeline.journal.run(result.run_id).decisions if row.action == "handoff"]
    assert observed(result) == [(1, "1", "small"), (3, "2", "small"), (5, "3", "large")]
    assert row.reason.endswith("but what count did at step 3 cannot be taken back")


@pytest.mark.parametrize(
    "before, after",
    [
        ((("a\n\n", "b\n\n"), ("die",)), (("\\boxed{4}",), ("B\n\n",))),
        ((("a\n\n", "b\n\n", "die"), ("B\n\n",)), (("\\boxed{4}",), ())),
    ],
    ids=["in the hand-over", "behind it"],
)
def test_a_run_that_died_goes_on_as_it_would_have(tmp_path: Path, before: Any, after: Any) -> None:
    small, large = before
    with made(says(*small), says(*large), tmp_path / "db") as pipeline, pytest.raises(Death):
        asyncio.run(pipeline.arun("Go.", run_id="it"))
    small, large = after
    with made(says(*small), says(*large), tmp_path / "db") as pipeline:
        result = pipeline.run("Go.", run_id="it")
    assert result.text == "a\n\nB\n\n\\boxed{4}"
    assert [step.writer for step in result.steps] == ["small", "large", "small"]


def test_a_simulation_is_where_it_was_behind_a_resume(tmp_path: Path) -> None:
    tools: Any = lambda task: [counting()]  # noqa: E731
    with made(says(CALL, CALL, "die"), says(CALL), tmp_path / "db", tools=tools) as pipeline, pytest.raises(Death):
        asyncio.run(pipeline.arun("Count.", run_id="it"))
    with made(says(CALL, "\\boxed{4}"), says(), tmp_path / "db", tools=tools) as pipeline:
        result = pipeline.run("Count.", run_id="it")
    assert [text for _, text, _ in observed(result)] == ["1", "2", "3"]


SMALL = {0: CALL, 1: CALL, 4: "\\boxed{4}"}
"""What the small engine says by how often tools have answered; the large one always calls."""


def by_turn(engine: str) -> Scripted:
    def answer(request: Request) -> str:
        assert request.prompt is not None
        turn = bytes(request.prompt.ids()).decode().count("tool: ")
        return SMALL[turn] if engine == "small" else CALL

    return Scripted(answer)


def handed(pipeline: Pipeline, run: str) -> list[tuple[int, str, str]]:
    return [(row.step, row.kind, row.writer) for row in pipeline.journal.run(run).kept() if row.kind != "observation"]


@pytest.mark.parametrize("step", range(9))
def test_a_fork_inside_a_hand_over_goes_on_with_it(step: int) -> None:
    """The turn at step 2 is taken back and written by the large engine, which has that one and two more."""
    router = Cascade(on_stuck="retake", on_milestone="ignore", turns=3, dwell=0, stay=1)
    options: dict[str, Any] = {"router": router, "tools": lambda task: [counting()]}
    with made(by_turn("small"), by_turn("large"), **options) as pipeline:
        result = pipeline.run("Count.", run_id="it")
        child = pipeline.graph.invoke({"run": "it", "step": step})["run"]
        assert handed(pipeline, child) == handed(pipeline, "it")
    assert [step.writer for step in result.steps[::2]] == ["small", "large", "large", "large", "small"]


def test_under_other_settings_the_router_is_asked_anew_at_once() -> None:
    small, large = by_turn("small"), by_turn("large")
    options: dict[str, Any] = {"tools": [tool(idempotent=True)(counting())]}
    router = Cascade(on_stuck="retake", on_milestone="ignore", turns=3, dwell=0, stay=1)
    with made(small, large, router=router, **options) as pipeline:
        pipeline.run("Count.", run_id="it")
        other = pipeline.but(router="large", monitors=())
        child = other.graph.invoke({"run": "it", "step": 4})["run"]
        assert not [row for row in other.journal.run(child).decisions if row.action == "handoff"]


@pytest.mark.parametrize("to_step", [-1, 1])
def test_there_is_nothing_to_take_back_where_no_step_is(to_step: int) -> None:
    class Lost(SmallOnly):
        async def on_events(self, history: History, events: list[Event], ask: Ask) -> Decision:
            return Handoff(engine="large", to_step=to_step, reason="lost")

    told = pytest.raises(UserError, match=f"rolls 1 steps back to {to_step}: give 0 to 0")
    with made(says("a\n\n"), says(), router=Lost(), monitors=(Every(moves=1),)) as pipeline, told:
        pipeline.run("Go.")
