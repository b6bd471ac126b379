"""`orchestrator collect`, `orchestrator train-router`, and the router they make, from the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from learned import ABOUT, rows

from orchestrator.learning.rows import export, read

Call = Callable[..., Result]

PIPELINE = """
from marked import pipeline
"""
UNSURE = """
import marked
from orchestrator.engines.scorers.verifier import Verifier
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import SignalUnavailable
from orchestrator.runtime.pipeline import Pipeline

def check(messages, kept, draft):
    if "guess" in draft:
        raise SignalUnavailable("prm", "cannot tell")
    return 0.9

def pipeline():
    engines = {"small": Scripted(marked.small), "large": Scripted(marked.large)}
    return Pipeline(engines, "small", scorers={"prm": Verifier(check=check)}, db=":memory:")
"""

FAILING = """
import marked
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineProtocol
from orchestrator.types import Budget

def small(request):
    failing = marked.place_of(request)[0] == "Question 3?"
    return EngineProtocol("no", engine="small") if failing else marked.small(request)

def pipeline():
    made = marked.pipeline(budget=Budget(tokens=90), failover=False)
    made.engines["small"]._answer = small
    return made
"""


@pytest.fixture
def scripts(here: Path) -> str:
    """A --pipeline target with two scripts that differ on marked steps."""
    (here / "scripts.py").write_text(PIPELINE)
    (here / "tasks.jsonl").write_text(
        "".join(json.dumps({"prompt": f"Question {n}?", "answer": "7"}) + "\n" for n in range(60))
    )
    return "scripts.py:pipeline"


@pytest.fixture
def journaled(scripts: str) -> list[str]:
    return ["--pipeline", scripts, "--db", "journal.db"]


def test_a_file_of_tasks_is_collected_trained_on_and_compared(orchestrator: Call, journaled: list[str]) -> None:
    collected = orchestrator("collect", "tasks.jsonl", *journaled, "--logprobs", "2", "--out", "rows.jsonl")
    assert collected.exit_code == 0, collected.output
    assert "360 steps of 60 tasks, scored by prm" in collected.stdout
    assert "gave no row" not in collected.output and "budget" not in collected.output
    assert "oracle share" in collected.stdout and "P(large also wrong | small wrong)" in collected.stdout
    assert "360 steps are few to learn from" in collected.stderr
    about, found = read([Path("rows.jsonl")])
    assert (about.small, about.large, about.scorer, about.logprobs, len(list(found))) == (
        "small",
        "large",
        "prm",
        2,
        360,
    )

    trained = orchestrator("train-router", "rows.jsonl", "--out", "router.json", "--plot", "router.png")
    assert trained.exit_code == 0, trained.output
    for word in ("Spearman", "acc0 / acc1", "ECE", "AUC", "[95% intervals by task]"):
        assert word in trained.stdout
    assert "take every figure with its interval" in trained.stderr
    assert Path("router.png").exists()
    router = json.loads(Path("router.json").read_text())
    assert (router["format"], router["version"]) == ("orchestrator-router", 1)

    Path("fresh.jsonl").write_text(
        "".join(json.dumps({"prompt": f"Question {n}?", "answer": "7"}) + "\n" for n in range(900, 906))
    )
    compared = orchestrator(
        *("bench", "run", *journaled, "--workload", "fresh.jsonl", "--tasks", "6", "--out", "out", "--quiet"),
        *("--policies", "arbitrage:file=router.json:threshold=0|0.5|1"),
    )
    assert compared.exit_code == 0, compared.output
    policies = json.loads(Path("out/summary.json").read_text())["policies"]
    labels = [label for label in policies if label.startswith("arbitrage")]
    assert len(labels) == 3 and all("file=router.json@" in label for label in labels)
    assert [label.partition(":threshold=")[2] for label in labels] == ["0", "0.5", "1"]
    all_large, some, none = (policies[label]["large_share_of_steps"] for label in labels)
    assert all_large == 1 > some > none == 0
    assert all(f"random@{label}" in policies for label in labels)


def test_a_comparison_on_tasks_that_a_router_was_fitted_on_is_refused(orchestrator: Call, journaled: list[str]) -> None:
    orchestrator("collect", "tasks.jsonl", *journaled, "--logprobs", "2", "--out", "rows.jsonl")
    orchestrator("train-router", "rows.jsonl", "--out", "router.json")
    refused = orchestrator(
        *("bench", "run", *journaled, "--workload", "tasks.jsonl", "--tasks", "60", "--out", "out"),
        *("--policies", "arbitrage:file=router.json"),
    )
    assert refused.exit_code == 2
    assert "was fitted on" in refused.stderr


def test_the_same_collection_again_only_reads(orchestrator: Call, journaled: list[str]) -> None:
    command = ("collect", "tasks.jsonl", *journaled, "--logprobs", "2", "--json", "--quiet")
    first, again = orchestrator(*command, "--out", "one.jsonl"), orchestrator(*command, "--out", "other.jsonl")
    assert first.stdout == again.stdout
    told = json.loads(first.stdout, parse_constant=pytest.fail)
    assert (told["steps"], told["unscored"], told["failed"]) == (360, 0, 0)
    assert Path("one.jsonl").read_text() == Path("other.jsonl").read_text()
    assert first.stderr == ""


def test_a_workload_brings_its_tasks_and_its_verifier(orchestrator: Call) -> None:
    done = orchestrator("collect", "random-calculation:preset=nothing", "--tasks", "2")
    assert done.exit_code == 2
    assert "nothing" in done.stderr
    done = orchestrator("collect", "random-calculation", "--split", "holdout")
    assert (done.exit_code, done.stderr.strip()) == (
        2,
        "error: --split holdout: random-calculation:preset=mid has train, calibration, report",
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.jsonl"], "none.jsonl: No such file"),
        (["tasks.jsonl", "random-calculation"], "one workload of `orchestrator bench list`"),
        (["tasks.jsonl", "--scorer", "nobody"], "error: collect "),
        (["tasks.jsonl", "--scorer", "escalation"], "cannot ask scorer 'escalation'"),
        (["tasks.jsonl", "--also", "escalation-plain"], "cannot ask scorer 'escalation-plain'"),
        (["tasks.jsonl", "--samples", "0"], "--samples"),
        (["tasks.jsonl", "--also", "prm"], "asked already"),
        (["tasks.jsonl", "--out", "no/rows.jsonl"], "cannot write no/rows.jsonl"),
        (["tasks.jsonl", "--out", "."], "cannot write .: it is a folder"),
        (["tasks.jsonl", "--tasks", "3"], "--tasks is for a workload"),
        (["tasks.jsonl", "--split", "train"], "--split is for a workload"),
        (["tasks.jsonl", "--task-seed", "0"], "--task-seed is for a workload"),
        (["tasks.jsonl", "--seed", "1"], "leave out --seed"),
    ],
)
def test_what_cannot_be_collected_is_one_line(
    orchestrator: Call, journaled: list[str], arguments: list[str], told: str
) -> None:
    done = orchestrator("collect", *arguments, *journaled)
    assert done.exit_code == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_several_samples_at_temperature_0_are_refused_before_anything_runs(orchestrator: Call, scripts: str) -> None:
    done = orchestrator("collect", "tasks.jsonl", "--samples", "3", "--temperature", "0", "--quiet")
    assert (done.exit_code, len(done.stderr.strip().splitlines())) == (2, 1)
    assert "at temperature 0" in done.stderr and "give it a temperature, or take 1 sample" in done.stderr


@pytest.mark.parametrize("out", [".", "no/there"])
@pytest.mark.parametrize("command", ["train-router", "export-router-data"])
def test_where_nothing_can_be_written_nothing_is_begun(orchestrator: Call, here: Path, command: str, out: str) -> None:
    done = orchestrator(command, "none.jsonl", "--out", out)
    assert (done.exit_code, f"cannot write {out}: " in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "command",
    [
        ("train-router", "rows.jsonl", "--out", "rows.jsonl"),
        ("train-router", "rows.jsonl", "--out", "linked.jsonl"),
        ("train-router", "linked.jsonl", "--out", "router.json", "--plot", "./rows.jsonl"),
        ("export-router-data", "other.jsonl", "rows.jsonl", "--out", "rows.jsonl"),
        ("collect", "tasks.jsonl", "--out", "tasks.jsonl"),
        ("collect", "tasks.jsonl", "--out", "journal.db", "--db", "journal.db"),
    ],
)
def test_what_a_command_reads_is_not_what_it_writes(
    orchestrator: Call, scripts: str, here: Path, command: tuple[str, ...]
) -> None:
    export(Path("rows.jsonl"), ABOUT, rows(60))
    export(Path("other.jsonl"), ABOUT, rows(60, seed=1))
    Path("linked.jsonl").symlink_to("rows.jsonl")
    Path("journal.db").touch()
    before = {each.name: each.read_bytes() for each in here.iterdir()}
    done = orchestrator(*command, *(("--pipeline", scripts) if command[0] == "collect" else ()))
    assert done.exit_code == 2
    assert "this command reads that file" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert {each.name: each.read_bytes() for each in here.iterdir()} == before


def test_a_file_that_an_earlier_command_wrote_is_replaced(orchestrator: Call, scripts: str) -> None:
    export(Path("rows.jsonl"), ABOUT, rows(60))
    for out in ("data.jsonl", "again.jsonl", "data.jsonl"):
        assert orchestrator("export-router-data", "rows.jsonl", "--out", out).exit_code == 0
    assert Path("data.jsonl").read_text() == Path("again.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.jsonl"], "none.jsonl: No such file"),
        (["rows.jsonl", "--use", "judge"], "no scorer 'judge' in these rows"),
        (["tasks.jsonl"], "tasks.jsonl:1: no file of rows"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(
    orchestrator: Call, scripts: str, arguments: list[str], told: str
) -> None:
    export(Path("rows.jsonl"), ABOUT, rows(3))
    done = orchestrator("train-router", *arguments, "--out", "router.json")
    assert done.exit_code == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not Path("router.json").exists()


@pytest.mark.parametrize(
    ("picture", "is_there", "told"),
    [
        ("router.nothing", True, "cannot write router.nothing: a plot is drawn by its ending"),
        ("router", True, "cannot write router: a plot is drawn by its ending"),
        ("router.png", False, "plots need matplotlib"),
    ],
)
def test_what_cannot_be_drawn_is_known_before_anything_is_trained(
    orchestrator: Call, monkeypatch: pytest.MonkeyPatch, picture: str, is_there: bool, told: str
) -> None:
    export(Path("rows.jsonl"), ABOUT, rows(60))
    if not is_there:
        monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    done = orchestrator("train-router", "rows.jsonl", "--out", "router.json", "--plot", picture)
    assert (done.exit_code, len(done.stderr.strip().splitlines())) == (2, 1)
    assert told in done.stderr
    assert [each.name for each in Path().iterdir()] == ["rows.jsonl"]


def test_a_router_file_that_is_none_is_one_line_wherever_it_is_named(orchestrator: Call, journaled: list[str]) -> None:
    Path("newer.json").write_text(json.dumps({"format": "orchestrator-router", "version": 9}))
    told = "newer.json has format version 9, and this program knows 1"
    run = ("run", "1+1", "--router", "arbitrage", "--router-option", "file=newer.json")
    bench = ("bench", "run", *journaled, "--out", "out", "--policies", "arbitrage:file=newer.json")
    for command in (run, bench):
        done = orchestrator(*command)
        assert done.exit_code == 2
        assert told in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_file_beside_the_configuration_is_found_from_anywhere(orchestrator: Call, here: Path) -> None:
    (here / "conf").mkdir()
    (here / "conf/orchestrator.toml").write_text(
        '[router]\nname = "arbitrage"\nfile = "router.json"\nthreshold = 0.3\n'
    )
    export(Path("rows.jsonl"), ABOUT, rows(60))
    orchestrator("train-router", "rows.jsonl", "--out", "conf/router.json", "--shape", "logistic")
    shown = orchestrator("config", "show", "--config", "conf/orchestrator.toml")
    assert shown.exit_code == 0, shown.output
    assert 'file = "conf/router.json"' in shown.stdout
    assert "learnt" not in shown.stdout
    missing = orchestrator("run", "1+1", "--router", "arbitrage")
    assert (missing.exit_code, "arbitrage needs file" in missing.stderr) == (2, True)
    hidden = orchestrator("run", "1+1", "--config", "conf/orchestrator.toml", "--router-option", "learnt=1")
    assert (hidden.exit_code, "learnt: no such key" in hidden.stderr) == (2, True)


def test_drafts_that_nobody_scored_are_counted_and_told(orchestrator: Call, scripts: str, here: Path) -> None:
    (here / "unsure.py").write_text(UNSURE)
    command = ("collect", "tasks.jsonl", "--pipeline", "unsure.py:pipeline", "--logprobs", "2")
    told = orchestrator(*command)
    assert told.exit_code == 0, told.output
    steps = int(told.stdout.split(" steps")[0])
    assert f"{360 - steps} drafts gave no row: not every candidate has a score" in told.stdout and 0 < steps < 360
    assert f"{360 - steps} drafts of 360 are left out, not every candidate has a score; " in told.stderr
    assert "candidate was written" not in told.output and "budget" not in told.output
    assert json.loads(orchestrator(*command, "--json").stdout, parse_constant=pytest.fail)["unscored"] == 360 - steps


def test_runs_that_a_budget_ended_are_counted_told_and_in_the_exit_code(orchestrator: Call, scripts: str) -> None:
    Path("short.py").write_text(
        "from marked import pipeline as made\nfrom orchestrator.types import Budget\n\n"
        "def pipeline():\n    return made(budget=Budget(tokens=90))\n"
    )
    command = ("collect", "tasks.jsonl", "--pipeline", "short.py:pipeline", "--db", "j.db", "--logprobs", "2")
    told = orchestrator(*command)
    assert told.exit_code == 4, told.output
    assert "60 runs of 60 were ended by a budget" in told.stdout
    assert "raise --budget-tokens" in told.stderr
    assert "drafts gave no row: not every candidate was written" in told.stdout
    assert "has a score" not in told.output
    again = orchestrator(*command, "--json", "--quiet")  # what is finished stays so, and is told again
    found = json.loads(again.stdout)
    assert (again.exit_code, found["over_budget"], found["failed"], found["unscored"]) == (4, 60, 0, 0)
    assert 0 < found["unfinished"] <= 60 and again.stderr == ""


def test_a_run_that_failed_outweighs_one_that_a_budget_ended(orchestrator: Call, scripts: str) -> None:
    Path("failing.py").write_text(FAILING)
    done = orchestrator("collect", "tasks.jsonl", "--pipeline", "failing.py:pipeline", "--json", "--logprobs", "2")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["failed"], found["over_budget"]) == (1, 1, 59)


def test_nothing_that_could_be_measured_is_null_and_no_other_word(orchestrator: Call, scripts: str, here: Path) -> None:
    (here / "unsure.py").write_text(UNSURE.replace('"guess" in draft', "True"))
    done = orchestrator("collect", "tasks.jsonl", "--pipeline", "unsure.py:pipeline", "--json", "--quiet")
    found = json.loads(done.stdout, parse_constant=pytest.fail)
    assert (found["steps"], found["both_wrong"], found["unscored"]) == (0, [None, None, None], 360)


def test_the_exact_check_speaks_first(orchestrator: Call, journaled: list[str]) -> None:
    command = ("collect", "tasks.jsonl", *journaled, "--logprobs", "2", "--also", "verifier", "--out", "rows.jsonl")
    told = orchestrator(*command).stdout
    assert told.index("scored by verifier") < told.index("scored by prm")
    trained = orchestrator("train-router", "rows.jsonl", "rows.jsonl", "--out", "router.json", "--shape", "logistic")
    assert "P(large also wrong | small wrong)  0.000 [0.000, 0.000] by verifier, " in trained.stdout
    assert "360 rows were there before and are left out" in trained.stderr
    exported = orchestrator("export-router-data", "rows.jsonl", "rows.jsonl", "--out", "data.jsonl")
    assert "360 rows were there before and are left out" in exported.stderr
    quiet = orchestrator("export-router-data", "rows.jsonl", "rows.jsonl", "--out", "data.jsonl", "--quiet")
    assert (quiet.exit_code, quiet.stderr, quiet.stdout) == (0, "", exported.stdout)
