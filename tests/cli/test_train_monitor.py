"""`orchestrator train-monitor`, from the command line: what it reads, refuses, writes and says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from errand_runs import stored_errands

from orchestrator.config import monitor_file
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.monitors import MONITORS

Call = Callable[..., Result]

ASKED = r"""
import orchestrator as orc

def large(request):
    last = bytes(request.prompt.ids()).decode().rpartition("Observation: ")[2].splitlines()[0]
    return "Answer: yes" if "busy" in last else "Answer: no"

def pipeline():
    engines = {"small": orc.engines.Scripted([]), "large": orc.engines.Scripted(large)}
    return orc.Pipeline(engines=engines, router="small")
"""


@pytest.fixture
def journal(here: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A journal of errands, rules of our own to label them, and which runs loop."""
    monkeypatch.setitem(MONITORS, "stuck", "errand_runs:Loops")
    (here / "asked.py").write_text(ASKED)
    with Store(here / "journal.db") as store:
        made = Journal(store)
        found = {run: is_looping for run, _, is_looping in stored_errands(made, 60)}
        made.close()
    return found


def stuck(orchestrator: Call, *arguments: str) -> Result:
    return orchestrator("train-monitor", "stuck", "--db", "journal.db", "--out", "stuck.json", *arguments)


def test_rules_label_a_journal_and_the_monitor_is_written_with_its_figures(
    orchestrator: Call, journal: dict[str, bool]
) -> None:
    done = stuck(orchestrator, "--labels", "rules")
    assert done.exit_code == 0, done.output
    for word in ("stuck.json: stuck from a chance of", "PR-AUC", "F1", "false alarms", "[95% intervals by task]"):
        assert word in done.stdout
    assert "held-out runs: take every figure with its interval" in done.stderr
    made = monitor_file("stuck.json")
    assert (made.kind, made.window, made.min_moves, made.data["labels"]) == ("stuck", 6, 3, ["rules"])
    assert made.data["runs"] == len(journal) and 0 < made.threshold < 1
    assert Path("stuck.json").stat().st_size < 200_000


def test_the_figures_come_as_json_and_nothing_else_is_printed(orchestrator: Call, journal: dict[str, bool]) -> None:
    done = stuck(orchestrator, "--labels", "rules", "--json", "--quiet", "--window", "4")
    assert (done.exit_code, done.stderr) == (0, "")
    told = json.loads(done.stdout, parse_constant=pytest.fail)
    assert (told["file"], told["kind"]) == ("stuck.json", "stuck")
    assert told["f1"][0] >= 0.9 and told["learnt_from"]["rows"] > 0 and told["false_alarms_wanted"] == 0.05
    assert monitor_file("stuck.json").window == 4


def labelled(journal: dict[str, bool], path: str) -> None:
    lines = [
        {"run": run, "step": 3 * place + 2, "label": is_looping and place >= 2}
        for run, is_looping in journal.items()
        for place in range(4)
    ]
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_people_label_in_a_file_and_labels_that_meet_no_move_are_told(
    orchestrator: Call, journal: dict[str, bool]
) -> None:
    labelled(journal, "labels.jsonl")
    done = stuck(orchestrator, "--labels", "labels.jsonl")
    assert done.exit_code == 0, done.output
    assert "labels are left out: no move that a monitor looks at ends with their step" in done.stderr
    both = stuck(orchestrator, "--labels", "labels.jsonl", "--labels", "rules", "--json", "--quiet")
    assert both.exit_code == 0 and monitor_file("stuck.json").data["labels"] == ["file", "rules"]


def test_the_large_engine_labels_and_the_same_command_asks_nothing_twice(
    orchestrator: Call, journal: dict[str, bool]
) -> None:
    command = ("--labels", "engine", "--pipeline", "asked.py:pipeline", "--ask", "200")
    done = stuck(orchestrator, *command)
    assert done.exit_code == 0, done.output
    number = int(done.stderr.split(" questions, 0 without a yes or no, ")[0].split()[-1])
    assert 150 < number <= 200  # what reads the same is asked once
    with Store("journal.db", readonly=True) as store:
        runs = len(Journal(store).runs(10_000))
    first = Path("stuck.json").read_bytes()
    again = stuck(orchestrator, *command)
    assert (again.exit_code, Path("stuck.json").read_bytes()) == (0, first)
    with Store("journal.db", readonly=True) as store:
        assert len(Journal(store).runs(10_000)) == runs == len(journal) + number


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--labels", "none.jsonl"], "none.jsonl: No such file"),
        (["--labels", "bad.jsonl"], "bad.jsonl:1: no label"),
        (["--labels", "rules", "--small", "http://127.0.0.1:1"], "--small is for --labels engine"),
        (["--labels", "bad.jsonl", "--rules", "a.py:b"], "--rules is for --labels rules"),
        (["--labels", "rules", "--rules", "none.py:rules"], "there is no file none.py"),
        (["--labels", "rules", "--rules", "errand_runs:Loops"], "cannot watch a stored run"),
        (["--labels", "rules", "--concurrency", "2"], "--concurrency is for --labels engine"),
        (["--labels", "rules", "--db", "none.db"], "none.db"),
        (["--labels", "rules", "--db", "bad.jsonl"], "bad.jsonl is not a SQLite database"),
        (["--labels", "rules", "--out", "journal.db"], "this command reads that file"),
        (["--labels", "bad.jsonl", "--out", "./bad.jsonl"], "this command reads that file"),
        (["--labels", "rules", "--out", "no/stuck.json"], "its folder does not exist"),
        (["--labels", "rules", "--false-alarms", "1.5"], "--false-alarms"),
        (["--labels", "rules", "--false-alarms", "nan"], "--false-alarms"),
        (["--labels", "rules", "--window", "0"], "--window"),
        ([], "--labels"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line_and_leaves_everything_as_it_was(
    orchestrator: Call, journal: dict[str, bool], here: Path, arguments: list[str], told: str
) -> None:
    Path("bad.jsonl").write_text('{"run": 1}\n')
    before = {each.name for each in here.iterdir()}
    done = stuck(orchestrator, *arguments)
    assert (done.exit_code, told in done.stderr) == (2, True), done.output
    assert len(done.stderr.strip().splitlines()) == 1
    assert not Path("stuck.json").exists()
    assert {each.name for each in here.iterdir()} - before <= {"journal.db-wal", "journal.db-shm"}


def test_rules_are_given_as_a_monitor_and_milestones_have_no_others(
    orchestrator: Call, journal: dict[str, bool], here: Path
) -> None:
    command = ("train-monitor", "milestone", "--db", "journal.db", "--labels", "rules", "--out", "milestone.json")
    refused = orchestrator(*command)
    assert refused.exit_code == 2 and "what is a milestone depends on your tasks" in refused.stderr
    (here / "mine.py").write_text("from errand_runs import Goods\n\nrules = Goods()\n")
    done = orchestrator(*command, "--rules", "mine.py:rules", "--false-alarms", "0.3")
    assert done.exit_code == 0, done.output
    assert monitor_file("milestone.json").min_moves == 2


def test_labels_that_tell_nothing_make_no_file(orchestrator: Call, journal: dict[str, bool]) -> None:
    lines = [{"run": run, "step": 8, "label": False} for run in journal]
    Path("labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = stuck(orchestrator, "--labels", "labels.jsonl")
    assert done.exit_code == 2 and "both are needed in each split" in done.stderr
    assert not Path("stuck.json").exists()


def test_an_empty_journal_is_told_of(orchestrator: Call, here: Path) -> None:
    with Store(here / "empty.db") as store:
        Journal(store).close()
    Path("labels.jsonl").write_text("")
    done = orchestrator(
        *("train-monitor", "milestone", "--db", "empty.db", "--labels", "labels.jsonl", "--out", "m.json")
    )
    assert done.exit_code == 2 and "there is no run to learn from" in done.stderr


def test_a_kind_that_nobody_knows_is_refused(orchestrator: Call, journal: Any) -> None:
    done = orchestrator("train-monitor", "drift", "--labels", "rules", "--out", "m.json")
    assert done.exit_code == 2 and "'drift' is not one of 'stuck', 'milestone'" in done.stderr
