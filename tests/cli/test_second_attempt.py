"""`orchestrator second-attempt`: a stored run's question is answered again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]
AGENT = """
from orchestrator.engines.scripted import Scripted
from orchestrator.runtime.pipeline import Pipeline


def says(request):
    text = bytes(request.prompt.ids()).decode()
    if "Now write down" in text:
        return '{"behavior_carry": "Carry the ten."}' if "17" in text else "{}"
    return "\\\\boxed{42}" if "behavior_carry: Carry" in text or "first attempt" in text else "\\\\boxed{32}"


def made():
    return Pipeline({"large": Scripted(says)}, "large", db="journal.db")
"""
MADE = ("--pipeline", "agent.py:made")


@pytest.fixture(autouse=True)
def agent(here: Path) -> None:
    (here / "agent.py").write_text(AGENT)


def test_a_question_is_answered_again_by_what_it_taught_or_by_revising(orchestrator: Call) -> None:
    assert orchestrator("run", "What is 17 + 25?", *MADE).stdout == "32\n"
    first = json.loads(orchestrator("second-attempt", "last", *MADE, "--json").stdout)
    assert (first["answer"], first["shown"]) == ("42", ["behavior_carry: Carry the ten."])
    again = orchestrator("second-attempt", first["first"], *MADE)
    assert (again.exit_code, again.stdout) == (0, "42\n")
    assert "guided: completed · shown behavior_carry" in again.stderr and first["second"] in again.stderr
    revised = orchestrator("second-attempt", first["first"], "--way", "revised", *MADE)
    assert revised.stdout == "42\n" and "shown" not in revised.stderr


def test_where_nothing_is_learned_the_first_answer_stands(orchestrator: Call) -> None:
    orchestrator("run", "What is 18 + 25?", *MADE)
    done = orchestrator("second-attempt", "last", *MADE)
    assert done.stdout == "32\n" and "the first answer stands: nothing was learned" in done.stderr


def test_a_run_that_is_not_there_is_told(orchestrator: Call) -> None:
    orchestrator("run", "What is 18 + 25?", *MADE)
    done = orchestrator("second-attempt", "zzzz", *MADE)
    assert done.exit_code == 2 and "zzzz" in done.stderr
