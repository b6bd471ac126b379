"""Every command that begins a file or a question anew is a generation; --resume goes on with one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store

Call = Callable[..., Result]

AGENT = """
from pathlib import Path
import orchestrator as orc

def small(request):
    asked = bytes(request.prompt.ids()).decode().split("\\n")[0].removeprefix("user: ")
    with open("calls.txt", "a") as calls:
        calls.write(asked + " ")
    if Path("broken").exists() and asked == "two":
        raise ValueError("it broke")
    return f"Answer: {asked}"

def a():
    return orc.Pipeline(engines={"small": orc.engines.Scripted(small)}, router="small")

def b():
    return orc.Pipeline(engines={"small": orc.engines.Scripted(small)}, router="small", seed=7)
"""


@pytest.fixture(autouse=True)
def work(here: Path) -> None:
    (here / "agent.py").write_text(AGENT)
    (here / "tasks.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n{"prompt": "three"}\n')


def run(orchestrator: Call, which: str, *arguments: str) -> Result:
    return orchestrator("run", "tasks.jsonl", "--pipeline", f"agent.py:{which}", *arguments)


def rows(file: Path) -> list[dict[str, Any]]:
    return sorted((json.loads(line) for line in file.read_text().splitlines()), key=lambda row: row["position"])


def taken_calls(here: Path) -> list[str]:
    """Return what was asked since the last time."""
    file = here / "calls.txt"
    asked = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return asked


def test_two_policies_over_one_file_are_resumed_each_from_its_own_results(orchestrator: Call, here: Path) -> None:
    (here / "broken").touch()
    assert run(orchestrator, "a", "--out", "A").exit_code == 1
    assert run(orchestrator, "b", "--out", "B").exit_code == 1
    (here / "broken").unlink()
    before = {name: {row["run_id"] for row in rows(here / name)} for name in "AB"}
    taken_calls(here)
    for name in "AB":
        done = run(orchestrator, name.lower(), "--out", name, "--resume")
        assert (done.exit_code, taken_calls(here)) == (0, ["two"])
        assert [row["answer"] for row in rows(here / name)] == ["one", "two", "three"]
        assert {row["run_id"] for row in rows(here / name)} == before[name]


def test_a_second_command_does_not_take_over_the_results_of_the_first(orchestrator: Call, here: Path) -> None:
    run(orchestrator, "a", "--out", "A")
    run(orchestrator, "a", "--out", "B")
    ids = [{row["run_id"] for row in rows(here / name)} for name in "AB"]
    assert not ids[0] & ids[1]
    assert run(orchestrator, "a", "--out", "C", "--resume").exit_code == 0
    assert {row["run_id"] for row in rows(here / "C")} == ids[1]


def test_an_empty_out_and_no_out_go_on_with_the_newest_generation(orchestrator: Call, here: Path) -> None:
    run(orchestrator, "b", "--quiet")
    (here / "broken").touch()
    run(orchestrator, "a", "--quiet")
    (here / "broken").unlink()
    taken_calls(here)
    (here / "E").touch()
    assert [json.loads(line)["answer"] for line in run(orchestrator, "a", "--resume").stdout.splitlines()] == ["two"]
    assert run(orchestrator, "a", "--out", "E", "--resume").exit_code == 0
    assert taken_calls(here) == ["two"]
    assert len(rows(here / "E")) == 3


def test_resume_of_a_file_that_was_never_begun_begins_it(orchestrator: Call, here: Path) -> None:
    assert run(orchestrator, "a", "--out", "A", "--resume").exit_code == 0
    assert len(rows(here / "A")) == 3


def test_results_of_another_file_or_of_another_journal_are_not_gone_on_with(orchestrator: Call, here: Path) -> None:
    run(orchestrator, "a", "--out", "A")
    (here / "other.jsonl").write_text('{"prompt": "four"}\n')
    before = (here / "A").read_bytes()
    done = orchestrator("run", "other.jsonl", "--pipeline", "agent.py:a", "--out", "A", "--resume")
    assert (done.exit_code, done.stderr) == (
        2,
        f"error: A has results of {here}/tasks.jsonl: choose another file\n",
    )
    (here / "A").write_text((here / "A").read_text().replace('"run_id":"', '"run_id":"x'))
    done = run(orchestrator, "a", "--out", "A", "--resume")
    assert done.exit_code == 2
    assert "results of runs that the journal does not hold" in done.stderr
    assert (here / "A").read_bytes() == before.replace(b'"run_id":"', b'"run_id":"x')


def test_resume_alone_with_out_goes_on_with_what_the_file_has(orchestrator: Call, here: Path) -> None:
    (here / "broken").touch()
    run(orchestrator, "a", "--out", "A")
    run(orchestrator, "b", "--out", "B")
    (here / "broken").unlink()
    taken_calls(here)
    done = orchestrator("run", "--resume", "--pipeline", "agent.py:a", "--out", "A")
    assert (done.exit_code, taken_calls(here)) == (0, ["two"])


def test_a_file_whose_name_has_a_number_sign_is_resumed(orchestrator: Call, here: Path) -> None:
    (here / "tasks.jsonl").rename(here / "t#1.jsonl")
    orchestrator("run", "t#1.jsonl", "--pipeline", "agent.py:a")
    done = orchestrator("run", "--resume", "--pipeline", "agent.py:a")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith(f"resuming {here}/t#1.jsonl\n")


def test_a_question_asked_anew_is_a_generation_and_resume_takes_the_newest(
    orchestrator: Call, home: Path, here: Path
) -> None:
    def ask(which: str, *more: str) -> Result:
        return orchestrator("run", "one?", "--json", "--pipeline", f"agent.py:{which}", *more)

    ids = [json.loads(ask(which).stdout)["run_id"] for which in "ba"]
    assert json.loads(ask("a", "--resume").stdout)["run_id"] == ids[1]
    refused = ask("b", "--resume")
    assert refused.exit_code == 2 and ids[1] in refused.stderr
    with Store(home / "journal.db", readonly=True) as store:
        journal = Journal(store)
        assert [[each.run.id for each in journal.batch(name)] for name in journal.batches("question:")] == [
            [ids[1]],
            [ids[0]],
        ]


def test_an_exception_of_someones_code_fails_its_task_and_the_others_go_on(orchestrator: Call, here: Path) -> None:
    (here / "broken").touch()
    done = run(orchestrator, "a", "--out", "A", "--concurrency", "1")
    assert done.exit_code == 1
    assert "3 tasks · 2 completed · 1 failed" in done.stderr
    assert [(row["status"], row["answer"], row["error"]) for row in rows(here / "A")] == [
        ("completed", "one", None),
        ("failed", None, "ValueError: it broke (agent.py line 10)"),
        ("completed", "three", None),
    ]
    assert rows(here / "A")[1]["run_id"] in orchestrator("trace", "list").stdout
