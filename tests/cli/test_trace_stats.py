"""`orchestrator trace stats`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from orchestrator.memory.base import LEARNS
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

Call = Callable[..., Result]


@pytest.fixture
def ran(orchestrator: Call, pipeline: str, here: Path) -> list[str]:
    """Two runs, by specreason and then by random; returns their ids, the newest first."""
    orchestrator("run", "What is 6*7?", "--pipeline", pipeline)
    other = (here / "agent.py").read_text().replace("Scripted(large)}", 'Scripted(large)}, router="random"')
    (here / "other.py").write_text(other)
    assert orchestrator("run", "What is 7*7?", "--pipeline", "other.py:pipeline").exit_code == 0
    return [json.loads(line)["id"] for line in orchestrator("trace", "list", "--json").stdout.splitlines()]


def test_of_one_run_they_say_what_show_says(orchestrator: Call, ran: list[str]) -> None:
    for policy, run in zip(("random", "specreason"), ran, strict=True):
        shown = orchestrator("trace", "show", run).stdout.splitlines()
        found = orchestrator("trace", "stats", "--policy", policy).stdout.splitlines()
        account, told = (
            [line.split() for line in text if line.split()[:1] in (["small"], ["large"], ["all"])]
            for text in ([line for line in shown if "produced" not in line], [each.replace(",", "") for each in found])
        )
        # calls, prompt and output tokens; `show` has cached tokens and seconds, too
        assert sorted([*row[:-5], *row[-5:-3], row[-2]] for row in account) == sorted(told)
        [share] = [line for line in shown if "of all output tokens" in line]
        assert found[1].split()[4:6] == ["produced", share.split()[2]]


def test_json_has_everything_and_by_policy_is_an_object_for_each(orchestrator: Call, ran: list[str]) -> None:
    found = json.loads(orchestrator("trace", "stats", "--json").stdout)
    assert (found["runs"], found["ended"], found["statuses"]) == (2, 2, {"completed": 2})
    assert sum(row["output_tokens"] for row in found["spending"]) == found["output_tokens"]
    assert {*found["per_run"]} == {"seconds", "output_tokens", "cost", "steps"}
    assert any(row["fate"] == "discarded" for row in found["spending"])
    apart = [
        json.loads(line) for line in orchestrator("trace", "stats", "--by", "policy", "--json").stdout.splitlines()
    ]
    assert [each["policy"] for each in apart] == ["random", "specreason"]
    assert sum(each["output_tokens"] for each in apart) == found["output_tokens"]
    assert orchestrator("trace", "stats", "--by", "policy").stdout.count("\n") == 3


def test_why_the_large_engine_was_called_is_told_most_frequent_first(orchestrator: Call, ran: list[str]) -> None:
    shown = orchestrator("trace", "stats", "--policy", "specreason").stdout
    assert "        1  rewrite   specreason 0.1.0     rated too low\n" in shown


def test_filters_are_those_of_the_list(orchestrator: Call, ran: list[str]) -> None:
    assert json.loads(orchestrator("trace", "stats", "--json", "--tokens", "100..100").stdout)["runs"] == 1
    done = orchestrator("trace", "stats", "--status", "failed")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no run is like that\n")
    done = orchestrator("trace", "stats", "--policy", "rsd")
    assert done.exit_code == 2 and "there are random, specreason" in done.stderr


def test_runs_of_learners_are_left_out_and_counted_unless_asked_for(
    orchestrator: Call, ran: list[str], home: Path
) -> None:
    with Store(home / "journal.db") as store:
        journal = Journal(store)
        stored = journal.run(ran[0]).run
        journal.open_run(stored._replace(id="asked", batch=f"{LEARNS}x"))
    done = orchestrator("trace", "stats", "--json")
    assert json.loads(done.stdout)["runs"] == 2
    assert done.stderr == "1 run of learners left out: --all counts them\n"
    done = orchestrator("trace", "stats", "--json", "--all")
    assert (json.loads(done.stdout)["runs"], done.stderr) == (3, "")
