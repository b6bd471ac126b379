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
from orchestrator.errors import EngineProtocol
from orchestrator.runtime.pipeline import Pipeline


def says(request):
    if FAILS:
        raise EngineProtocol("gone", engine="large")
    text = bytes(request.prompt.ids()).decode()
    if "Now write down" in text:
        return '{"behavior_carry": "Carry the ten."}' if "17" in text else "{}"
    return "\\\\boxed{42}" if "behavior_carry: Carry" in text or "first attempt" in text else "\\\\boxed{32}"


FAILS = False


def made():
    return Pipeline({"large": Scripted(says)}, "large", db="journal.db")


def coached():
    return Pipeline({"coach": Scripted(says), "large": Scripted(says)}, "large", db="journal.db")
"""
MADE = ("--pipeline", "agent.py:made")
DB = ("--db", "journal.db")


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


def test_a_run_that_failed_is_no_first_attempt(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(AGENT.replace("FAILS = False", "FAILS = True"))
    orchestrator("run", "What is 18 + 25?", *MADE)
    done = orchestrator("second-attempt", "last", *MADE)
    assert done.exit_code == 2 and "failed, and a second attempt needs a first answer: `orchestrator run" in done.stderr


def test_another_engine_reflects_where_one_is_named(orchestrator: Call) -> None:
    coached = ("--pipeline", "agent.py:coached")
    orchestrator("run", "What is 17 + 25?", *coached)
    (first,) = (json.loads(each)["id"] for each in orchestrator("trace", "list", "--json", *DB).stdout.splitlines())
    done = orchestrator("second-attempt", first, *coached, "--strategist", "coach", "--json")
    assert json.loads(done.stdout)["answer"] == "42", done.stderr
    runs = [
        json.loads(each)["id"] for each in orchestrator("trace", "list", "--all", "--json", *DB).stdout.splitlines()
    ]
    told = [json.loads(orchestrator("trace", "show", run, "--json", *DB).stdout)["steps"] for run in runs]
    assert [steps[0]["writer"] for steps in told] == ["large", "coach", "coach", "large"]
    others = orchestrator("second-attempt", first, *coached, "--json")
    assert json.loads(others.stdout)["second"] != json.loads(done.stdout)["second"]
    for flags, said in ((("--way", "revised"), "--way revised learns nothing"), ((), "no engine 'coach' that writes")):
        engines = coached if flags else MADE
        refused = orchestrator("second-attempt", first, *engines, "--strategist", "coach", *flags)
        assert refused.exit_code == 2 and said in refused.stderr
