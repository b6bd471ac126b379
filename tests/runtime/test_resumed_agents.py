"""An agent goes on from its journal: no call is made twice in silence, and a simulation is brought to where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.decisions import Decision, keep, rollback
from orchestrator.doors import Ask
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import ToolPrompt
from orchestrator.errors import UserError
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.run import Approval
from orchestrator.tools import tool
from orchestrator.types import Event, History, Status, Step, StepKind, Task

QUESTION = "Count."
UNKNOWN = "error: the call was interrupted, and whether it was made is not known"


class Dies(BaseException):
    """The process dies here."""


class Shelf:
    """A tool that leaves something behind, and a way to die in the middle of it."""

    def __init__(self, *, dies: int = 0, is_idempotent: bool = False) -> None:
        self.put: list[str] = []
        self.dies = dies
        self.is_idempotent = is_idempotent

    def tools(self, task: Task | None = None) -> list[Any]:
        @tool(idempotent=self.is_idempotent)
        async def put(item: str) -> str:
            self.put.append(item)
            if self.dies:
                self.dies -= 1
                task = asyncio.current_task()
                assert task is not None
                await asyncio.sleep(30)
            return f"{len(self.put)} there"

        return [put]


def one_after_the_other(request: Request) -> str:
    """Put one thing after the other on the shelf, then answer."""
    assert request.prompt is not None
    turn = bytes(request.prompt.ids()).decode().count("tool: ")
    return f"<tool>put({'abc'[turn]})</tool>" if turn < 3 else "\\boxed{3}"


def shelved(shelf: Any, db: Any, *, script: Any = one_after_the_other, **options: Any) -> Pipeline:
    return Pipeline({"small": Scripted(script)}, "small", tools=shelf, db=db, **options)


def cut_off(made: Pipeline, *, when: Callable[[], bool]) -> None:
    """Run the agent and cancel it once something is so, as Ctrl-C does."""

    async def run() -> None:
        running = asyncio.ensure_future(made.arun(QUESTION, run_id="one"))
        while not when() and not running.done():
            await asyncio.sleep(0.001)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(run())


def observed(stored: StoredRun) -> list[str]:
    return [row.text for row in stored.kept() if row.kind == "observation"]


def purposes(stored: StoredRun) -> list[tuple[str, str]]:
    return [(call.intent.purpose, call.result.status if call.result else "") for call in stored.calls]


def resumed(shelf: Any, db: Path, **options: Any) -> StoredRun:
    with shelved(shelf, db, **options) as made:
        assert made.run(QUESTION, run_id="one").status is Status.COMPLETED
        return made.journal.run("one")


def test_a_call_that_was_cut_off_is_not_made_again_and_the_engine_is_told(tmp_path: Path) -> None:
    shelf = Shelf(dies=1)
    with shelved(shelf.tools(), tmp_path / "journal.db") as made:
        cut_off(made, when=lambda: bool(shelf.put))
    stored = resumed(shelf.tools(), tmp_path / "journal.db")
    assert observed(stored) == [UNKNOWN, "2 there", "3 there"]
    assert shelf.put == ["a", "b", "c"]
    [denied] = [row for row in stored.decisions if row.action == "deny"]
    assert (denied.door, denied.policy) == (
        "approval 0: it was begun before and interrupted; whether it was made is not known",
        "runtime",
    )
    assert purposes(stored)[:2] == [("draft", "done"), ("tool", "aborted")]


def test_a_call_that_may_be_made_again_is(tmp_path: Path) -> None:
    shelf = Shelf(dies=1, is_idempotent=True)
    with shelved(shelf.tools(), tmp_path / "journal.db") as made:
        cut_off(made, when=lambda: bool(shelf.put))
    stored = resumed(shelf.tools(), tmp_path / "journal.db")
    assert observed(stored) == ["2 there", "3 there", "4 there"]
    assert [row.action for row in stored.decisions if row.action in ("approve", "deny")] == []
    assert purposes(stored)[:3] == [("draft", "done"), ("tool", "aborted"), ("tool", "done")]


@pytest.mark.parametrize(
    ("said", "expected", "put"),
    [(True, "2 there", "aabc"), (False, UNKNOWN, "abc"), ("it was made", "error: it was made", "abc")],
)
def test_a_person_says_whether_a_call_that_was_cut_off_is_made_again(
    tmp_path: Path, said: Any, expected: str, put: str
) -> None:
    shelf, asked = Shelf(dies=1), list[str]()

    def approve(approval: Approval) -> Any:
        asked.append(approval.reason)
        return said

    with shelved(shelf.tools(), tmp_path / "journal.db", approve=approve) as made:
        cut_off(made, when=lambda: bool(shelf.put))
    stored = resumed(shelf.tools(), tmp_path / "journal.db", approve=approve)
    assert asked == ["it was begun before and interrupted; whether it was made is not known"]
    assert observed(stored)[0] == expected
    assert "".join(shelf.put) == put


def test_one_word_of_a_person_lets_a_call_be_made_again_once(tmp_path: Path) -> None:
    shelf, asked = Shelf(dies=2), list[str]()

    def approve(approval: Approval) -> bool:
        asked.append(approval.reason)
        return len(asked) == 1

    for times in (1, 2):
        with shelved(shelf.tools(), tmp_path / "journal.db", approve=approve) as made:
            cut_off(made, when=lambda times=times: len(shelf.put) == times)  # type: ignore[misc]
    stored = resumed(shelf.tools(), tmp_path / "journal.db", approve=approve)
    assert asked == [
        "it was begun before and interrupted; whether it was made is not known",
        "it was begun 2 times before and interrupted; whether it was made is not known",
    ]
    assert observed(stored)[0] == UNKNOWN
    assert "".join(shelf.put) == "aabc"


def test_finished_calls_are_never_made_again(tmp_path: Path) -> None:
    shelf, whole = Shelf(), Shelf()
    calls = 0

    def dies_at_the_end(request: Request) -> str:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Dies
        return one_after_the_other(request)

    with shelved(shelf.tools(), tmp_path / "journal.db", script=dies_at_the_end) as made, suppress(Dies):
        made.run(QUESTION, run_id="one")
    stored = resumed(shelf.tools(), tmp_path / "journal.db")
    assert (observed(stored), shelf.put) == (["1 there", "2 there", "3 there"], ["a", "b", "c"])
    with shelved(whole.tools(), ":memory:") as made:
        made.run(QUESTION, run_id="one")
        assert [row[1:8] for row in made.journal.run("one").kept()] == [row[1:8] for row in stored.kept()]


# ---- simulations


class World:
    """Makes a shelf for every task, as an environment does, and counts how often."""

    def __init__(self) -> None:
        self.made: list[Shelf] = []
        self.dies = 0

    def __call__(self, task: Task) -> list[Any]:
        self.made.append(Shelf(dies=self.dies))
        return self.made[-1].tools()


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_simulation_is_brought_to_where_it_was(tmp_path: Path, after: int) -> None:
    world, calls = World(), 0

    def dies(request: Request) -> Any:
        nonlocal calls
        calls += 1
        if calls == after + 1:
            raise Dies
        return one_after_the_other(request)

    with shelved(world, tmp_path / "journal.db", script=dies) as made, suppress(Dies):
        made.run(QUESTION, run_id="one")
    stored = resumed(world, tmp_path / "journal.db")
    first, second = world.made
    assert (first.put, second.put) == (list("abc")[:after], ["a", "b", "c"] if after < 3 else [])
    assert observed(stored) == ["1 there", "2 there", "3 there"]
    assert [purpose for purpose, _ in purposes(stored)].count("tool") == 3


def test_a_call_of_a_simulation_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    world = World()
    world.dies = 1
    with shelved(world, tmp_path / "journal.db") as made:
        cut_off(made, when=lambda: bool(world.made and world.made[0].put))
    world.dies = 0
    stored = resumed(world, tmp_path / "journal.db")
    assert observed(stored) == ["1 there", "2 there", "3 there"]
    assert world.made[1].put == ["a", "b", "c"]


@pytest.mark.parametrize("approved", [True, False])
def test_a_simulation_is_not_given_calls_that_were_not_made(tmp_path: Path, approved: bool) -> None:
    put: list[list[str]] = []

    def tools(task: Task) -> list[Any]:
        mine: list[str] = []
        put.append(mine)

        @tool(name="put", needs_approval=True)
        def puts(item: str) -> str:
            mine.append(item)
            return f"{len(mine)} there"

        return [puts]

    calls = 0

    def dies(request: Request) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Dies
        return one_after_the_other(request)

    answers = iter([approved, True, True])
    options: dict[str, Any] = {"approve": lambda approval: next(answers)}
    with shelved(tools, tmp_path / "journal.db", script=dies, **options) as made, suppress(Dies):
        made.run(QUESTION, run_id="one")
    resumed(tools, tmp_path / "journal.db", **options)
    assert put[1] == (["a", "b", "c"] if approved else ["b", "c"])


def test_a_simulation_cut_off_between_two_calls_of_a_turn_has_seen_the_first(tmp_path: Path) -> None:
    turn = "".join(f'<tool_call>{{"name": "put", "arguments": {{"item": "{item}"}}}}</tool_call>' for item in "abc")
    put: list[list[str]] = []
    hanging: list[str] = []

    def tools(task: Task) -> list[Any]:
        mine: list[str] = []
        put.append(mine)

        @tool(name="put")
        async def puts(item: str) -> str:
            if item == "b" and len(put) == 1:
                hanging.append(item)
                await asyncio.sleep(30)
            mine.append(item)
            return f"{len(mine)} there"

        return [puts]

    def script(request: Request) -> str:
        assert request.messages is not None
        return turn if len(request.messages) == 1 else "\\boxed{3}"

    def pipeline() -> Pipeline:
        engines = {"only": Scripted(script, continues=False, logprobs=0)}
        prompt = ToolPrompt(format="hermes", is_native=True)
        return Pipeline(engines, "small", tools=tools, tool_prompt=prompt, db=tmp_path / "journal.db")

    with pipeline() as made:
        cut_off(made, when=lambda: bool(hanging))
    with pipeline() as made:
        made.run(QUESTION, run_id="one")
        stored = made.journal.run("one")
    assert observed(stored) == ["1 there\n2 there\n3 there"]
    assert put == [["a"], ["a", "b", "c"]]
    assert [status for purpose, status in purposes(stored) if purpose == "tool"] == ["done", "aborted", "done", "done"]


# ---- going back


class BackOnce:
    """Goes back to a step at the first draft of another one."""

    def __init__(self, to: int, at: int) -> None:
        self.to, self.at = to, at

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        if (draft.index, draft.attempt) == (self.at, 0):
            return rollback(self.to, reason="wrong turn")
        return keep(reason="fine")


def went_back(shelf: Any, router: Any, **options: Any) -> tuple[StoredRun, list[str]]:
    with Pipeline({"small": Scripted(one_after_the_other)}, router, tools=shelf, db=":memory:", **options) as made:
        result = made.run(QUESTION)
        assert result.answer == "3"
        return made.journal.run(result.run_id), observed(made.journal.run(result.run_id))


def test_a_run_does_not_go_back_before_what_a_tool_did_for_good() -> None:
    shelf = Shelf()
    stored, said = went_back(shelf.tools(), BackOnce(0, at=4))
    assert (said, shelf.put) == (["1 there", "2 there", "3 there"], ["a", "b", "c"])
    [back] = [row for row in stored.decisions if row.action == "rollback"]
    assert (back.detail, back.reason) == (
        '{"to_step": 4}',
        "wrong turn; but what put did at step 3 cannot be taken back",
    )
    assert [(row.step, row.attempt) for row in stored.kept()] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 0),
        (4, 1),
        (5, 0),
        (6, 0),
    ]


def test_a_run_goes_back_over_calls_that_may_be_made_again() -> None:
    shelf = Shelf(is_idempotent=True)
    _, said = went_back(shelf.tools(), BackOnce(0, at=4))
    assert shelf.put == ["a", "b", "a", "b", "c"]
    assert said == ["3 there", "4 there", "5 there"]


def test_a_run_goes_back_over_calls_that_were_not_made() -> None:
    def script(request: Request) -> str:
        assert request.prompt is not None
        turn = bytes(request.prompt.ids()).decode().count("tool: ")
        return "<tool>take(a)</tool>" if turn < 2 else "\\boxed{3}"

    shelf = Shelf()
    with Pipeline({"small": Scripted(script)}, BackOnce(0, at=4), tools=shelf.tools(), db=":memory:") as made:
        result = made.run(QUESTION)
    assert [(step.index, step.attempt) for step in result.steps] == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]


@pytest.mark.parametrize(("to", "put"), [(0, "abc"), (2, "abc"), (4, "abc")])
def test_a_simulation_that_goes_back_is_made_anew(to: int, put: str) -> None:
    world = World()
    stored, said = went_back(world, BackOnce(to, at=4))
    assert said == ["1 there", "2 there", "3 there"]
    assert "".join(world.made[-1].put) == put
    assert len(world.made) == (2 if to < 4 else 1)
    assert [row.action for row in stored.decisions].count("rollback") == 1


class GoesBackAtEvents:
    """Goes back to the beginning at the first event."""

    def __init__(self, to: int) -> None:
        self.to = to

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        return keep(reason="fine")

    async def on_events(self, history: History, events: Any, ask: Ask) -> Decision:
        return rollback(self.to, reason="stuck")


class AtTheSecondObservation:
    """Notices the second observation."""

    def watch(self, history: History) -> Event | None:
        seen = [step for step in history.steps if step.kind is StepKind.OBSERVATION]
        is_second = len(seen) == 2 and history.steps[-1] is seen[-1] and not seen[0].attempt
        return Event("stuck", "there are two") if is_second else None


@pytest.mark.parametrize("is_simulation", [False, True])
def test_at_an_event_a_run_goes_back_as_far_as_it_can(is_simulation: bool) -> None:
    world, shelf = World(), Shelf()
    tools = world if is_simulation else shelf.tools()
    stored, said = went_back(tools, GoesBackAtEvents(0), monitors=[AtTheSecondObservation()])
    assert said == ["1 there", "2 there", "3 there"]
    assert "".join(world.made[-1].put if is_simulation else shelf.put) == "abc"
    [back] = [row for row in stored.decisions if row.action == "rollback"]
    assert back.reason == ("stuck" if is_simulation else "stuck; but what put did at step 3 cannot be taken back")
    assert back.detail == ('{"to_step": 0}' if is_simulation else '{"to_step": 4}')


@pytest.mark.parametrize("to", [-1, 5])
def test_a_step_that_there_is_not_is_refused(to: int) -> None:
    with pytest.raises(UserError, match=f"back to {to}: give 0 to 3"):
        went_back(World(), GoesBackAtEvents(to), monitors=[AtTheSecondObservation()])
