"""A run is resumed with the functions that it was begun with, not with others of the same name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.answers import plain
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import ResumeRefused
from orchestrator.functions import named
from orchestrator.modes import FirstTry
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.tools import make, tool
from orchestrator.types import Budget

STABLE = """
from orchestrator.functions import named
def check(question, answer):
    return any(word in {"one", "two", "three", "four"} for word in answer.split()) and (lambda: len(question))()
print(named(check))
"""


def asks(word: str) -> Callable[[str, str], bool]:
    return lambda question, answer: word in answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x == 1, lambda x: x == 2),
        (lambda x: x.a, lambda x: x.b),
        (lambda x: x + 1, lambda x: x - 1),
        (lambda x: [y for y in x if y in {1, 2}], lambda x: [y for y in x if y in {1, 3}]),
    ],
)
def test_functions_of_one_name_are_told_apart_by_their_code(one: Any, other: Any) -> None:
    assert named(one) != named(other)
    assert named(one).partition(" ")[0] == named(other).partition(" ")[0]


def test_the_same_code_has_the_same_name_in_every_process() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", filler + STABLE],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, filler in (("1", ""), ("2", "\n\n"), ("3", ""))
    }
    assert len(told) == 1 and told.pop().startswith("__main__:check ")


def test_what_is_no_function_of_somebody_s_is_known_by_name_alone() -> None:
    assert named(plain) == "orchestrator.answers:plain"
    assert (named(len), named(partial(plain)), named(Path)) == ("builtins:len", "functools:partial", "pathlib:Path")
    assert named(asks("a")) == named(asks("b"))  # what a function is closed over is not looked at


def test_a_run_is_not_resumed_with_another_check(tmp_path: Path) -> None:
    def pipeline(check: Callable[[str, str], bool]) -> Pipeline:
        options: dict[str, Any] = {"db": tmp_path / "journal.db", "budget": Budget(steps=1), "monitors": ()}
        return Pipeline({"small": Scripted(["a\n\n", "\\boxed{4}"])}, "small", mode=FirstTry(check=check), **options)

    with pipeline(lambda question, answer: answer == "4") as made:
        made.run("How many?", run_id="one")
    with pipeline(lambda question, answer: answer == "4") as made:
        made.run("How many?", run_id="one")
    with pipeline(lambda question, answer: answer == "5") as made, pytest.raises(ResumeRefused, match="check"):
        made.run("How many?", run_id="one")


class Ours:
    def price(self, of: str) -> str:
        """Tell a price."""
        return f"{of}: 3"


class Theirs:
    def price(self, of: str) -> str:
        """Tell a price."""
        return f"{of}: 4"


Theirs.price.__qualname__ = Ours.price.__qualname__


def three(of: str) -> str:
    """Tell a price."""
    return f"{of}: 3"


def four(of: str) -> str:
    """Tell a price."""
    return f"{of}: 4"


three.__name__ = four.__name__ = three.__qualname__ = four.__qualname__ = "price"


@pytest.mark.parametrize(("one", "other"), [(three, four), (tool(three), tool(four)), (Ours().price, Theirs().price)])
def test_a_run_is_not_resumed_with_a_tool_of_the_same_name_and_other_code(tmp_path: Path, one: Any, other: Any) -> None:
    def pipeline(price: Any) -> Pipeline:
        engine = Scripted(["<tool>price(pen)</tool>", "\\boxed{3}"])
        return Pipeline({"small": engine}, "small", tools=[price], db=tmp_path / "journal.db")

    with pipeline(one) as made:
        made.run("How much?", run_id="one")
    with pipeline(one) as made:
        assert made.run("How much?", run_id="one").answer == "3"
    with pipeline(other) as made, pytest.raises(ResumeRefused, match=r"made with tools\.tools\.price\.function = "):
        made.run("How much?", run_id="one")


def test_our_own_tools_are_known_by_their_options_alone() -> None:
    assert make("calculator").settings() == {"timeout_s": 5.0, "max_chars": 4000}
    assert make("python").settings() == {"timeout_s": 10.0, "max_chars": 4000, "cpu_s": 5, "memory_mib": 256}
