"""`orchestrator trace`."""

from __future__ import annotations

import json
import os
import re
import runpy
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from orchestrator.traces.record import RunRecord

Call = Callable[..., Result]

SHOWN = r"""run <run>  completed  4 steps  <s> s
started  <time>
asked    What is 6*7?
engines  small: scripted on scripted
         large: scripted on scripted
router   specreason 0.1.0 first_n=0 on_unreadable=reject reading=greedy
         step_tokens=512 threshold=7.0 total_tokens=8192
         uncalibrated: the threshold was not chosen for these engines
ended    the engine ended its text
answer   42

   # writer   verdict      score  need margin tokens     ms  reason
   0 small    kept           9.0   7.0   +2.0     18      0  rated high enough
       Step 0: compute.
   1 small    x rejected     2.0   7.0   -5.0     18      0  rated too low
       | Step 1: compute.
   1 large    kept             -     -      -     17      0  replaces draft
       Careful step 1.
   2 small    kept           9.0   7.0   +2.0     18      0  rated high enough
       Step 2: compute.
   3 small    kept           9.0   7.0   +2.0     25      0  rated high enough
       The answer is \boxed{42}.

engine   purpose  fate         calls   prompt   cached  output       s
small    draft    discarded        1       48        -      18    0.00
small    draft    used             3      178        -      61    0.00
large    judge    used             4     1373        -       4    0.00
large    rewrite  used             1       48        -      17    0.00
small    all                       4      226        -      79    0.00
large    all                       5     1421        -      21    0.00
all                                9     1647        -     100    0.00
large produced 21% of all output tokens
- under cached: the server does not report it
"""


@pytest.fixture
def ran(orchestrator: Call, pipeline: str) -> str:
    """One finished run; returns its id."""
    done = orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--json", "--quiet")
    run_id: str = json.loads(done.stdout)["run_id"]
    return run_id


def test_show_prints_every_step_and_the_ledger(orchestrator: Call, ran: str, settle: Callable[[str], str]) -> None:
    done = orchestrator("trace", "show", "last")
    assert done.exit_code == 0
    text = re.sub(r"\d(?=  (rated|replaces))", "0", settle(done.stdout))
    assert re.sub(r"\d\.\d\d$", "0.00", text, flags=re.MULTILINE) == SHOWN
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_show_takes_the_beginning_of_an_id(orchestrator: Call, ran: str) -> None:
    assert orchestrator("trace", "show", ran[:12]).stdout == orchestrator("trace", "show", ran).stdout


def test_show_json_is_the_export_of_the_run(orchestrator: Call, ran: str) -> None:
    assert orchestrator("trace", "show", "--json").stdout == orchestrator("trace", "export", ran).stdout


def test_list_prints_one_line_per_run(
    orchestrator: Call, pipeline: str, ran: str, settle: Callable[[str], str]
) -> None:
    orchestrator("run", "A longer question that is cut", "--pipeline", pipeline)
    done = orchestrator("trace", "list")
    assert settle(re.sub(r" +\d\.\d  ", "  S  ", done.stdout)) == (
        "run               started          status      steps large      s  asked\n"
        "<run>  <time> completed       4   21%  S  A longer que…\n"
        "<run>  <time> completed       4   21%  S  What is 6*7?\n"
    )
    assert orchestrator("trace", "list", "-n", "1").stdout.count("\n") == 2
    assert orchestrator("trace", "list", "--status", "failed").stdout == ""


def test_list_json_is_one_object_per_run(orchestrator: Call, ran: str) -> None:
    listed = json.loads(orchestrator("trace", "list", "--json").stdout)
    assert (listed["id"], listed["status"], listed["answer"], listed["steps"]) == (ran, "completed", "42", 4)


def test_an_export_follows_its_schema_and_holds_everything(orchestrator: Call, ran: str, here: Path) -> None:
    done = orchestrator("trace", "export", "--all", "--out", "runs.jsonl")
    assert (done.exit_code, done.stdout) == (0, "")
    (line,) = (here / "runs.jsonl").read_text().splitlines()
    run = RunRecord.model_validate_json(line)
    assert (run.schema_version, run.id, run.outcome and run.outcome.status) == (1, ran, "completed")
    assert [step.text for step in run.steps] == [
        "Step 0: compute.\n\n",
        "Careful step 1.\n\n",
        "Step 2: compute.\n\n",
        r"The answer is \boxed{42}.",
    ]
    assert [call.purpose for call in run.calls] == [
        "draft", "judge", "draft", "judge", "rewrite", "draft", "judge", "draft", "judge"
    ]  # fmt: skip
    assert bytes(run.calls[0].ids or ()).decode() == run.calls[0].text
    assert [decision.action for decision in run.decisions] == ["plan", "keep", "rewrite", "keep", "keep"]
    assert run.task.messages == [("user", "What is 6*7?")]


def test_a_fork_says_which_run_each_step_is_from(orchestrator: Call, ran: str, here: Path) -> None:
    made = runpy.run_path(str(here / "agent.py"))["pipeline"]()
    with made:
        fork = made.graph.invoke({"run": ran, "step": 2})["run"]
    shown = orchestrator("trace", "show", fork).stdout
    assert shown.count(" inherited ") == shown.count(f"from run {ran[:9]}…\n") == 2
    for done in (orchestrator("trace", "show", fork, "--json"), orchestrator("trace", "export", fork)):
        run = RunRecord.model_validate_json(done.stdout)
        assert [step.run for step in run.steps] == [ran, ran, fork, fork]
        assert {call.step for call in run.calls} == {2, 3}
    whole = RunRecord.model_validate_json(orchestrator("trace", "export", ran).stdout)
    assert {step.run for step in whole.steps} == {ran}


def test_an_export_overwrites_nothing(orchestrator: Call, ran: str, here: Path) -> None:
    (here / "runs.jsonl").write_text("precious")
    done = orchestrator("trace", "export", "--all", "--out", "runs.jsonl")
    assert (done.exit_code, done.stderr) == (2, "error: runs.jsonl exists: choose another file\n")
    assert (here / "runs.jsonl").read_text() == "precious"


def test_an_export_needs_to_know_which_runs(orchestrator: Call, ran: str) -> None:
    done = orchestrator("trace", "export")
    assert (done.exit_code, done.stderr) == (2, "error: name the runs to export, or give --all\n")


def test_broken_text_of_a_model_is_shown_spelled_out_and_exported_as_valid_unicode(
    orchestrator: Call, here: Path
) -> None:
    (here / "agent.py").write_text(
        "import orchestrator as orc\n"
        "small = orc.engines.Scripted(lambda request: 'a\\x1b[2J \\u202e b \\udcff Answer: \\x07bell')\n"
        "pipeline = orc.Pipeline({'small': small}, router='small')\n"
    )
    orchestrator("run", "ring\x1b[8m it", "--pipeline", "agent.py:pipeline")
    shown = orchestrator("trace", "show").stdout
    assert "\x1b" not in shown and "\u202e" not in shown and "\x07" not in shown
    assert "asked    ring\\x1b[8m it\n" in shown
    assert "       a\\x1b[2J \\u202e b \\udcff Answer: \\x07bell\n" in shown
    run = RunRecord.model_validate_json(orchestrator("trace", "export", "last").stdout)
    assert run.steps[0].text == "a\x1b[2J \u202e b \ufffd Answer: \x07bell"


def test_an_unknown_run_lists_the_nearest(orchestrator: Call, ran: str) -> None:
    done = orchestrator("trace", "show", "zzz")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: no run 'zzz' in ")
    assert done.stderr.endswith(f"the nearest are {ran}\n")


def test_without_a_journal_there_is_one_line_and_no_file_is_made(orchestrator: Call, home: Path) -> None:
    done = orchestrator("trace", "list")
    assert (done.exit_code, done.stderr) == (2, f"error: no journal at {home}/journal.db: run something first\n")
    assert not (home / "journal.db").exists()


def _text(path: Path) -> None:
    path.write_text("no database at all\n" * 100)


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()


def _newer(path: Path) -> None:
    _foreign(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {0x4F52434A}")
        connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_text, "is not a SQLite database and was left untouched"),
        (_foreign, "is another program's database and was left untouched"),
        (_newer, "was written by a newer version of this program (schema 99"),
    ],
)
@pytest.mark.parametrize("reads", [True, False])
def test_a_database_that_is_not_ours_to_touch_is_one_line_and_stays_as_it_was(
    orchestrator: Call, here: Path, pipeline: str, home: Path, spoil: Callable[[Path], None], said: str, reads: bool
) -> None:
    spoil(home / "journal.db")
    before = (home / "journal.db").read_bytes()
    done = orchestrator(*(("trace", "list") if reads else ("run", "x", "--pipeline", pipeline)))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {home}/journal.db {said}")
    assert done.stderr.count("\n") == 1
    assert (home / "journal.db").read_bytes() == before


def test_a_locked_database_is_one_line(orchestrator: Call, ran: str, pipeline: str, home: Path) -> None:
    holder = sqlite3.connect(home / "journal.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        done = orchestrator("run", "x", "--pipeline", pipeline)
    finally:
        holder.close()
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: {home}/journal.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_line(orchestrator: Call, pipeline: str, home: Path) -> None:
    home.chmod(0o500)
    try:
        done = orchestrator("run", "x", "--pipeline", pipeline)
    finally:
        home.chmod(0o700)
    assert done.exit_code == 2
    assert "choose another file with --db" in done.stderr


def test_a_database_where_no_file_can_be_is_one_line(orchestrator: Call, pipeline: str) -> None:
    done = orchestrator("trace", "list", "--db", "agent.py/journal.db")
    assert (done.exit_code, done.stdout) == (2, "")
    assert (
        done.stderr == "error: agent.py/journal.db cannot be opened: Not a directory: choose another file with --db\n"
    )


def test_a_reader_that_goes_away_is_no_error(orchestrator: Call, ran: str) -> None:
    code = "from orchestrator.cli import main; main()"
    reader = subprocess.Popen(
        [sys.executable, "-c", code, "trace", "show", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None and reader.stderr is not None
    reader.stdout.close()
    error = reader.stderr.read()
    reader.stderr.close()
    reader.wait()
    assert error == ""
