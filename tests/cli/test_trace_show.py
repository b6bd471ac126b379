"""`orchestrator trace show` of one step, of some steps, on terminals of every kind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from click.testing import Result
from rich.text import Text
from terminal import COMMAND, on_a_terminal

from orchestrator.memory.base import CallIntent
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.runtime.paper import write

Call = Callable[..., Result]

STEP = r"""run <run>  step 1  of 0 to 3

1  small  x rejected  18 tokens  0 ms
     rated too low
   | Step 1: compute.

2  large  kept  17 tokens  0 ms
     replaces draft
   Careful step 1.

decisions
1  after_draft: rewrite large
     rated too low
     2.0 against 7.0, margin -5.0
     could have been: keep
     by specreason 0.1.0

signals
1  judge  0.222222  raw 2 digit 0-9  1 token  0 ms

calls
"""


@pytest.fixture
def ran(orchestrator: Call, pipeline: str) -> str:
    """One finished run; returns its id."""
    done = orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--json", "--quiet")
    run_id: str = json.loads(done.stdout)["run_id"]
    return run_id


def milliseconds_gone(text: str) -> str:
    """Return `text` as if nothing had taken any time."""
    return re.sub(r"\d+ ms", "0 ms", text)


# --- one step ---------------------------------------------------------------------------------


def test_a_step_is_told_whole(orchestrator: Call, ran: str, settle: Callable[[str], str]) -> None:
    done = orchestrator("trace", "show", "last", "--step", "1")
    assert done.exit_code == 0
    text = settle(milliseconds_gone(done.stdout))
    assert text.startswith(STEP)
    calls = text.removeprefix(STEP)
    assert [line.split("  call ")[0] for line in calls.splitlines() if "  call " in line] == [
        "1  draft by small  done",
        "1  judge by large  done",
        "2  rewrite by large  done",
    ]
    assert "48 prompt tokens, 18 output of at most 512\n     0 ms; stopped by delimiter '\\n\\n'\n" in calls
    assert "     answered: 2\n" in calls
    assert max(map(len, text.splitlines())) <= 80


def test_a_step_as_json_is_one_object_with_everything(orchestrator: Call, ran: str) -> None:
    step = json.loads(orchestrator("trace", "show", "--step", "1", "--json").stdout)
    whole = json.loads(orchestrator("trace", "show", "--json").stdout)
    assert (step["run"], step["step"], step["steps"]) == (ran, 1, 4)
    assert [(each["writer"], each["verdict"], each["text"]) for each in step["candidates"]] == [
        ("small", "rejected", "Step 1: compute.\n\n"),
        ("large", "kept", "Careful step 1.\n\n"),
    ]
    for name in ("decisions", "signals", "calls"):
        exported = [each for each in whole[name] if each["step"] == 1]
        assert len(step[name]) == len(exported) > 0
        for told, known in zip(step[name], exported, strict=True):
            assert told["run"] == ran
            assert {key: told[key] for key in known if key in told} == {key: known[key] for key in known if key in told}
            assert set(known) - set(told) <= {"step", "ids", "logprobs"}


@pytest.mark.parametrize("step", ["4", "99999999999999999999"])
def test_a_step_that_is_not_there_is_one_line_that_names_those_that_are(
    orchestrator: Call, ran: str, step: str
) -> None:
    done = orchestrator("trace", "show", "--step", step)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: run {ran} has no step {step}: it has steps 0 to 3\n"


def test_what_a_fork_began_with_is_looked_up_where_it_was_written(
    orchestrator: Call, pipeline: str, ran: str, home: Path
) -> None:
    import orchestrator as orc
    from orchestrator.cli.source import load_object

    with load_object(pipeline, "--pipeline", orc.Pipeline)() as made:
        made.db = str(home / "journal.db")
        fork = made.graph.invoke({"run": ran, "step": 2})["run"]
    inherited = json.loads(orchestrator("trace", "show", fork, "--step", "1", "--json").stdout)
    assert [(each["run"], each["verdict"]) for each in inherited["candidates"]] == [
        (ran, "rejected"),
        (ran, "inherited"),
    ]
    assert [each["run"] for each in inherited["calls"]] == [ran] * 3
    text = orchestrator("trace", "show", fork, "--step", "1").stdout
    assert f"2  large  inherited  17 tokens  0 ms  from run {ran}\n" in milliseconds_gone(text)
    own = json.loads(orchestrator("trace", "show", fork, "--step", "2", "--json").stdout)
    assert {each["run"] for each in (*own["candidates"], *own["calls"], *own["decisions"])} == {fork}


def test_a_run_that_is_only_half_written_is_shown_and_marked(orchestrator: Call, ran: str, home: Path) -> None:
    with Store(home / "journal.db") as store:
        journal = Journal(store)
        key = journal.open_run(journal.run(ran).run._replace(id="0" * 16, batch="other"))
        bare = orchestrator("trace", "show", "0" * 16)
        none = orchestrator("trace", "show", "0" * 16, "--step", "0")
        journal.intent(CallIntent(key, 0, 0, 0, "draft", "small", 1, b"\x01" * 16, 9, 5, 0.0))
        journal.commit()
        shown = orchestrator("trace", "show", "0" * 16)  # while another connection may write
        step = orchestrator("trace", "show", "0" * 16, "--step", "0")
        journal.close()
    assert "run 0000000000000000  unfinished  0 steps\n" in bare.stdout
    assert none.stderr == "error: run 0000000000000000 has no step 0: it has none yet\n"
    assert "ended    not yet: it is running, or was interrupted and can be resumed\n" in shown.stdout
    assert "   0 small    x unfinished" in shown.stdout
    assert "1  small  x unfinished  ~0 tokens  0 ms\n" in step.stdout
    assert (
        f"in flight  call 0\n     seed 1  prompt {'01' * 16}\n     9 prompt, at most 5 output tokens\n" in step.stdout
    )


def test_hostile_text_of_a_step_moves_no_cursor_and_forges_no_line(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(
        "import orchestrator as orc\n"
        "text = 'a\\x1b[2J \\u202e\\rb \\udcff\\n\\ndecisions\\n' + 'long ' * 40 + '\\\\boxed{1}'\n"
        "small = orc.engines.Scripted(lambda request: text)\n"
        "pipeline = orc.Pipeline({'small': small}, router='small', granularity='fused')\n"
    )
    orchestrator("run", "What?", "--pipeline", "agent.py:pipeline")
    shown = orchestrator("trace", "show", "--step", "0").stdout
    assert "   a\\x1b[2J \\u202e\\rb \\udcff\n" in shown
    assert not {"\x1b", "\u202e", "\r", "\udcff"} & set(shown)
    assert max(map(len, shown.splitlines())) <= 80


# --- some steps -------------------------------------------------------------------------------


def test_only_escalated_steps_are_shown_and_the_others_counted(orchestrator: Call, ran: str) -> None:
    text = orchestrator("trace", "show", "--only", "escalated").stdout
    assert "Careful step 1." in text and "Step 0: compute." not in text
    assert "     3 of 4 steps not shown: nothing escalated there\n" in text
    assert (
        "     4 of 4 steps not shown: nothing failed there\n"
        in orchestrator("trace", "show", "--only", "failed").stdout
    )


@pytest.mark.parametrize(("flags", "leave"), [(["--json"], "--json"), (["--step", "1"], "--step")])
def test_only_goes_with_a_timeline_alone(orchestrator: Call, ran: str, flags: list[str], leave: str) -> None:
    done = orchestrator("trace", "show", "--only", "escalated", *flags)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: --only escalated leaves out lines of a timeline: leave out {leave}\n"


# --- terminals --------------------------------------------------------------------------------


def test_no_colour_is_no_colour_and_twenty_columns_are_twenty(orchestrator: Call, ran: str) -> None:
    shown = on_a_terminal(COMMAND, "trace", "show", NO_COLOR="1", COLUMNS="20")
    assert "\x1b[3" not in shown and "\x1b[2m" in shown
    assert max(map(len, re.sub(r"\x1b\[\d*m", "", shown).splitlines())) <= 20


def test_what_knows_no_letters_but_ascii_is_told_everything_in_ascii(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(
        "import orchestrator as orc\n"
        "small = orc.engines.Scripted(lambda request: 'é' * 100 + '\\\\boxed{1}')\n"
        "pipeline = orc.Pipeline({'small': small}, router='small')\n"
    )
    orchestrator("run", "What?", "--pipeline", "agent.py:pipeline")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", COMMAND, "trace", "show"], capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii() and b"\\xe9\\xe9" in done.stdout and b"..." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_line_that_was_cut_ends_in_three_dots_where_there_is_no_ellipsis() -> None:
    file = TextIOWrapper(BytesIO(), encoding="ascii")
    write(Text("x" * 19 + "…\nhm…"), file, width=20)
    file.seek(0)
    assert file.read() == "x" * 17 + "...\nhm...\n"


def test_an_empty_name_is_not_the_newest_run(orchestrator: Call, pipeline: str) -> None:
    for _ in range(2):
        orchestrator("run", "What is 6*7?", "--pipeline", pipeline, "--quiet")
    done = orchestrator("trace", "show", "")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: '' is the beginning of several runs: ")
