"""What the user's own code raises in a run names that code, and the run ends as failed with what it had kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.doors import Ask
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import PartFailed, UserError
from orchestrator.modes.base import Chosen
from orchestrator.modes.fixed import THINK
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.tools import tool
from orchestrator.types import Event, History, Status


class Watches:
    def watch(self, history: History) -> Event | None:
        if len(history.steps) > 1:
            raise KeyError("mood\x1b[2J")
        return None


class Looks:
    def __init__(self, *, is_late: bool) -> None:
        self.is_late = is_late

    async def look(self, history: History, ask: Ask) -> Event | None:
        if len(history.steps) > 1:
            raise TimeoutError
        return None


class Chooses:
    async def choose(self, history: History, ask: Ask) -> Chosen:
        raise ValueError("no mood")


class Reconsiders:
    async def choose(self, history: History, ask: Ask) -> Chosen:
        return Chosen(THINK, "so")

    async def reconsider(self, history: History, answer: str | None, ask: Ask) -> Chosen:
        raise ValueError("two\nlines " + "x" * 300)


@tool(needs_approval=True)
def mail(to: str) -> str:
    """Send a letter."""
    raise AssertionError("it was not approved")


def forgets(approval: Any) -> bool:
    raise OSError("the door is closed")


async def forgets_later(approval: Any) -> bool:
    raise OSError("the door is closed")


SCRIPT = ["a\n\n", "b\n\n", "\\boxed{1}"]
CALL = "<tool>mail(Ann)</tool>"
APPROVES = r"approve raised OSError: the door is closed: mend it, or leave it out"


@pytest.mark.parametrize(
    ("options", "told", "kept"),
    [
        (
            {"monitors": [Watches()]},
            r"monitor \S*:Watches raised KeyError: 'mood\\x1b\[2J': mend it",
            ["a\n\n", "b\n\n"],
        ),
        ({"monitors": [Looks(is_late=False)]}, r"monitor \S*:Looks raised TimeoutError: mend it", ["a\n\n", "b\n\n"]),
        ({"monitors": [Looks(is_late=True)]}, r"monitor \S*:Looks raised TimeoutError: mend it", ["a\n\n", "b\n\n"]),
        ({"mode": Chooses()}, r"mode \S*:Chooses \S+ raised ValueError: no mood: mend it", []),
        ({"mode": Reconsiders()}, r"mode \S*:Reconsiders \S+ raised ValueError: two lines x+…: mend it", SCRIPT),
        ({"tools": [mail], "approve": forgets, "script": ["a\n\n", CALL]}, APPROVES, ["a\n\n", CALL]),
        ({"tools": [mail], "approve": forgets_later, "script": ["a\n\n", CALL]}, APPROVES, ["a\n\n", CALL]),
    ],
)
def test_the_run_fails_with_what_it_kept_and_fails_again_when_it_is_tried_again(
    tmp_path: Path, options: dict[str, Any], told: str, kept: list[str]
) -> None:
    script = options.get("script", SCRIPT)
    given: dict[str, Any] = {"monitors": (), **{key: value for key, value in options.items() if key != "script"}}
    for _ in range(2):
        with Pipeline({"small": Scripted(script)}, "small", db=tmp_path / "db", **given) as made:
            result = made.run("How many?", run_id="it")
            stored = made.journal.run("it")
        assert result.status is Status.FAILED
        assert isinstance(result.error, PartFailed) and result.error.__cause__ is not None
        assert result.error.__cause__.__class__ in (KeyError, TimeoutError, ValueError, OSError)
        assert re.match(told, str(result.error))
        assert [step.text for step in result.steps] == kept
        assert stored.outcome is not None and stored.outcome.error == str(result.error)
        script = []  # everything that has to be written was written the first time


def test_what_was_raised_once_is_no_end_where_it_is_mended(tmp_path: Path) -> None:
    with Pipeline({"small": Scripted([CALL])}, "small", db=tmp_path / "db", tools=[mail], approve=forgets) as made:
        assert made.run("Write.", run_id="it").status is Status.FAILED
    approve = lambda approval: "not today"  # noqa: E731
    with Pipeline(
        {"small": Scripted(["\\boxed{1}"])}, "small", db=tmp_path / "db", tools=[mail], approve=approve
    ) as made:
        result = made.run("Write.", run_id="it")
    assert [step.text for step in result.steps] == [CALL, "error: not today", "\\boxed{1}"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"approve": 3}, "approve = 3: give a function that is asked before a call, or leave it out"),
        ({"approve": True}, "approve = True: give a function"),
        ({"tool_prompt": 3}, "tool_prompt = 3: give a ToolPrompt, or leave it out"),
        ({"tool_prompt": "hermes"}, "tool_prompt = 'hermes': give a ToolPrompt, or leave it out"),
    ],
)
def test_what_is_of_the_wrong_type_is_refused_at_once(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as refused:
        Pipeline({"small": Scripted([])}, "small", db=":memory:", **options)
    assert str(refused.value).startswith(told)


def test_a_function_that_makes_a_tasks_tools_and_raises_is_named_and_leaves_no_run(tmp_path: Path) -> None:
    def makes(task: Any) -> list[Any]:
        raise ZeroDivisionError("no shop today")

    with Pipeline({"small": Scripted([])}, "small", db=tmp_path / "db", tools=makes) as made:
        with pytest.raises(PartFailed, match="makes a task's tools raised ZeroDivisionError: no shop today"):
            made.run("q")
        assert made.journal.runs() == []
