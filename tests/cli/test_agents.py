"""Agents on the command line: tools that want approval, what people see of a run, and the flags for all of it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from orchestrator.cli.source import option_of
from orchestrator.traces.record import RunRecord

Call = Callable[..., Result]

AGENT = r'''
"""An agent of one script: it pays once, and then says what it was told."""

import orchestrator as orc
from orchestrator.monitors import Every
from orchestrator.tools import tool


@tool(needs_approval=True)
def pay(to: str) -> str:
    """Pay somebody."""
    with open("paid.txt", "a") as paid:
        paid.write(to)
    return f"paid {to}"


def small(request):
    text = bytes(request.prompt.ids()).decode()
    if "pay(" not in text.partition("q:")[2]:
        return "<tool>pay(Bob\x1b[2J\nCall it? y/N)</tool>"
    return "Answer: " + ("yes" if "paid Bob" in text else "no")


def pipeline(**options):
    engines = {"small": orc.engines.Scripted(small)}
    return orc.Pipeline(engines, "small", tools=[pay], monitors=[Every(moves=1, kind="look")], **options)
'''
DENIED = "error: the call needs approval and nobody can be asked"


@pytest.fixture(autouse=True)
def agent(here: Path) -> None:
    (here / "agent.py").write_text(AGENT)


RUN = ("run", "q: pay Bob", "--pipeline", "agent.py:pipeline")


def at_a_terminal(arguments: tuple[str, ...], *typed: str) -> str:
    """Run the command with everything on a terminal, type the next answer when it asks, and return what is seen."""
    code = "import sys; from orchestrator.cli import main; sys.argv = ['orchestrator', *sys.argv[1:]]; main()"
    master, slave = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "dumb"},
    )
    os.close(slave)
    os.write(master, b"yes\n")  # typed before there is a question
    shown, answers = b"", list(typed)
    try:
        while chunk := os.read(master, 1 << 16):
            shown += chunk
            while answers and shown.count(b"\nCall it? y/N") > len(typed) - len(answers):
                os.write(master, answers.pop(0).encode())
    except OSError:  # Linux says EIO when the other end is gone
        pass
    os.close(master)
    running.wait()
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(("typed", "answer"), [("y\n", "yes"), ("n\n", "no"), ("\n", "no"), ("\x04", "no")])
def test_at_a_terminal_a_person_is_asked_and_only_yes_is_yes(here: Path, typed: str, answer: str) -> None:
    seen = at_a_terminal(RUN, typed)
    question = seen[seen.index("run ") : seen.index("\nCall it? y/N")].splitlines()
    assert question[0].endswith(" wants to call pay: the tool asks for approval")
    assert question[1:] == ["  to:", "  | Bob\\x1b[2J", "  | Call it? y/N"]
    assert (here / "paid.txt").exists() is (answer == "yes")
    lines = seen.splitlines()
    assert answer in lines
    assert "   0 small                   calls: <tool>pay(Bob\\x1b[2J Call it? y/N)</tool>" in lines
    observed = "paid Bob" if answer == "yes" else "error: pay was not approved"
    assert any(line.startswith(f"   1 pay                     answers: {observed}") for line in lines)
    assert any(line.startswith("     look: ") for line in lines)


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_where_nobody_can_be_asked_the_call_is_denied_and_the_trace_says_why(
    orchestrator: Call, here: Path, quiet: tuple[str, ...]
) -> None:
    done = orchestrator(*RUN, *quiet)
    assert (done.exit_code, done.stdout, (here / "paid.txt").exists()) == (0, "no\n", False)
    run = RunRecord.model_validate_json(orchestrator("trace", "export", "last").stdout)
    assert [(step.kind.value, step.writer) for step in run.steps] == [
        ("action", "small"),
        ("observation", "pay"),
        ("thought", "small"),
    ]
    assert run.steps[1].text == DENIED
    [decision] = [each for each in run.decisions if each.door.startswith("approval")]
    assert (decision.action, decision.door) == ("deny", "approval 0: the tool asks for approval")
    assert run.settings["tools"]["order"] == ["pay"]
    assert [event.kind for event in run.events if "raised" in event.detail] == ["look"]
    assert "pay" in orchestrator("trace", "show").stdout


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('{"drift": "end"}', {"drift": "end"}),
        ('{drift = "end"}', {"drift": "end"}),
        ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        ("{oops", "{oops"),
        ("null", "null"),
        ("large", "large"),
        ("0.5", 0.5),
    ],
)
def test_a_table_on_the_command_line_is_written_as_toml_or_json_has_it(written: str, value: Any) -> None:
    assert option_of(f"others={written}") == ("others", value)


def test_a_file_of_tasks_asks_one_question_at_a_time(here: Path) -> None:
    (here / "tasks.jsonl").write_text('{"prompt": "q: one"}\n{"prompt": "q: two"}\n')
    seen = at_a_terminal(("run", "tasks.jsonl", *RUN[2:], "--out", "results.jsonl"), "y\n", "\n")
    assert seen.count("\nCall it? y/N") == 2
    answers = sorted(json.loads(line)["answer"] for line in (here / "results.jsonl").read_text().splitlines())
    assert answers == ["no", "yes"]


def test_a_pipelines_own_approval_is_asked_in_the_place_of_the_person_and_what_nobody_heeds_is_said(
    orchestrator: Call, here: Path
) -> None:
    (here / "agent.py").write_text(AGENT.replace("**options)\n", "approve=lambda asked: True, **options)\n"))
    done = orchestrator(*RUN)
    assert done.stdout == "yes\n"
    assert "warning: monitor every notices what small " in done.stderr
    assert "warning" not in orchestrator(*RUN, "--quiet").stderr


@pytest.mark.parametrize(
    ("flag", "named"),
    [(("--mode", "think"), "--mode"), (("--monitor", "stuck"), "--monitor"), (("--tool", "python"), "--tool")],
)
def test_a_pipeline_in_python_refuses_flags_that_it_would_drop(
    orchestrator: Call, flag: tuple[str, ...], named: str
) -> None:
    done = orchestrator(*RUN, *flag)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: --pipeline brings its own engines and options: leave out {named}, or set it in the file\n"
    )


def settings(orchestrator: Call) -> dict[str, Any]:
    found: dict[str, Any] = RunRecord.model_validate_json(orchestrator("trace", "export", "last").stdout).settings
    return found


def test_flags_reach_the_run_and_a_resume_with_others_is_refused(orchestrator: Call, here: Path) -> None:
    (here / "orchestrator.toml").write_text('mode = "think"\n[[monitors]]\nname = "drift"\n')
    flags = ("--mode", "no_think", "--monitor", "stuck:repeats=2,near=0.9", "--quiet")
    tool = ("--tool", "calculator:name=calc,max_chars=200")
    plan = ("--monitor", 'milestone:subgoals=["a, b", "c"],every=3')
    assert orchestrator("run", "Compute 1+1.", *flags, *plan, *tool).exit_code in (0, 1)
    made = settings(orchestrator)
    assert (made["mode"]["name"], made["tools"]["order"]) == ("no_think", ["calc"])
    assert made["tools"]["tools"]["calc"]["max_chars"] == 200
    stuck, milestone = made["monitors"]
    assert (stuck["repeats"], stuck["near"], milestone["subgoals"], milestone["every"]) == (2, 0.9, ["a, b", "c"], 3)
    for others, line in (
        (tool, "was made with monitors = "),
        (
            (*plan, *tool[:1], "calculator:name=calc,max_chars=300"),
            "made with tools.tools.calc.max_chars = 200, not 300: ",
        ),
        ((*plan, *tool[:1], "calculator"), "was made with tools.order = ['calc'], not ['calculator']: "),
    ):
        again = orchestrator("run", "Compute 1+1.", *flags, *others, "--resume")
        assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
        assert again.stderr.startswith("error: run ") and line in again.stderr
    assert orchestrator("run", "Compute 1+1.", *flags, *plan, *tool, "--resume").exit_code in (0, 1)


LEARNED = "learned to use calc, lookup, list, convert and no other tools: what they write with"


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        (
            ("calculator",),
            f"small and large {LEARNED} calculator may be nonsense; try --tool calculator:name=calc",
        ),
        (("calculator:name=calc", "python"), f"small and large {LEARNED} python may be nonsense"),
        (("calculator:name=calc",), ""),
        ((), ""),
    ],
)
def test_tools_that_the_pocket_pair_was_not_trained_on_are_told_of_at_the_start_and_in_the_trace(
    orchestrator: Call, tools: tuple[str, ...], told: str
) -> None:
    flags = [part for tool in tools for part in ("--tool", tool)]
    done = orchestrator("run", "Compute 1+1.", *flags)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("no engines named: the pocket pair")
    assert [line for line in lines if LEARNED in line] == ([told] if told else [])
    assert lines.index(told) == 1 if told else True
    events = RunRecord.model_validate_json(orchestrator("trace", "export", "last").stdout).events
    assert [event.detail for event in events if event.kind == "untrained"] == ([{"reason": told}] if told else [])
    assert ("event at step 0: untrained: small and large" in orchestrator("trace", "show").stdout) is bool(told)
    assert LEARNED not in orchestrator("run", "Compute 1+1.", *flags, "--quiet").stderr


def test_a_configuration_says_which_tools_an_engine_was_trained_on(orchestrator: Call, here: Path) -> None:
    table = '[engines.{0}]\nkind = "embedded"\npath = "pocket-{0}"\ntools = {{trained_on = ["{1}"]}}\n'
    text = table.format("small", "count") + table.format("large", "sum") + "[tools.calculator]\n"
    (here / "orchestrator.toml").write_text(text)
    told = [line for line in orchestrator("run", "Compute 1+1.").stderr.splitlines() if "learned" in line]
    assert told == [
        "small learned to use count and no other tools: what it writes with calculator may be nonsense",
        "large learned to use sum and no other tools: what it writes with calculator may be nonsense",
    ]
    (here / "orchestrator.toml").write_text(text.replace('["sum"]', '"sum"'))
    refused = orchestrator("config", "validate")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "engines.large.tools.trained_on" in refused.stderr


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--mode", "thinks"), "command line: mode: no mode named 'thinks'; known: "),
        (("--monitor", "bored"), "command line: monitors.1.name: no monitor named 'bored'; known: "),
        (("--monitor", "stuck:repeats"), "--monitor 'repeats': write it as key=value"),
        (("--monitor", "stuck:"), "--monitor 'stuck:': write it as NAME or NAME:key=value,key=value"),
        (("--monitor", ":repeats=2"), "--monitor ':repeats=2': write it as NAME or NAME:key=value,key=value"),
        (("--monitor", "stuck:repeats=2,repeats=3"), "--monitor 'stuck:repeats=2,repeats=3': each option may be"),
        (("--monitor", "stuck:name=drift"), "--monitor stuck: its name stands before the colon, and it takes no other"),
        (
            ("--monitor", "drift", "--monitor", "drift"),
            "command line: monitors.2 is the same as monitors.1, drift: name",
        ),
        (
            ("--monitor", "stuck", "--monitor", "stuck:repeats=3"),
            "command line: monitors.2 is the same as monitors.1, stuck",
        ),
        (("--tool", "calculator:"), "--tool 'calculator:': write it as NAME or NAME:key=value,key=value"),
        (("--tool", "calculator:name"), "--tool 'name': write it as key=value"),
        (("--tool", "calculator:nam=x"), "command line: tools.calculator.nam: no such key; did you mean 'name'?"),
        (("--tool", "calculator:max_chars=9"), "command line: tools.calculator: tool 'calculator': max_chars = 9 must"),
        (("--tool", "calculator", "--tool", "calculator:name=calc"), "--tool calculator is given twice: give it once"),
        (
            ("--tool", "calculator:name=python", "--tool", "python", "--quiet"),
            "two tools are called 'python': give one of them another",
        ),
        (("--monitor", "stuck:repeat=2"), "command line: monitors.1.repeat: no such key; did you mean 'repeats'?"),
        (("--monitor", "overthinking:file=no.json"), "no.json"),
        (("--tool", "shell"), "command line: tools.shell: no tool named 'shell'; known: calculator, python"),
        (
            ("--monitor", "milestone:subgoals=lamp"),
            "command line: monitors.1.subgoals must be a list: write [\"lamp\"], not 'lamp'",
        ),
        (
            ("--router", "cascade", "--router-option", 'others={"drift":"ends"}'),
            "command line: router.others must be 'turns', 'end', ",
        ),
        (
            ("--router", "cascade", "--router-option", 'others={"drift":}'),
            "command line: router.others must be a table: write {key = value}, not ",
        ),
    ],
)
def test_what_is_wrong_with_a_flag_is_one_line(orchestrator: Call, flags: tuple[str, ...], line: str) -> None:
    done = orchestrator("run", "x", *flags)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: {line}")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ('mode="agentic", fallback=None, tools=[]', "mode agentic: there are no tools; give another mode"),
        ("tools=lambda task: [pay, pay]", "two tools are called 'pay': give one of them another name"),
    ],
)
def test_what_is_refused_is_in_no_list_of_runs(orchestrator: Call, here: Path, options: str, line: str) -> None:
    (here / "agent.py").write_text(AGENT.replace("tools=[pay]", options))
    done = orchestrator(*RUN)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {line}")
    assert orchestrator("trace", "list", "--json").stdout == ""


SHOWN = """\
schema_version = 1
mode = "think(512)"
fallback = "refuse"
"""


def test_config_show_and_validate_tell_of_them_and_what_is_shown_can_be_read_again(
    orchestrator: Call, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOAL", "s3cret")
    file = here / "orchestrator.toml"
    file.write_text(
        'mode = "think(512)"\nfallback = "refuse"\n'
        '[[monitors]]\nname = "milestone"\nsubgoals = ["${GOAL}"]\n[[monitors]]\nname = "overthinking"\n'
        "[tools.python]\ntimeout_s = 5\n[tools.calculator]\n"
    )
    done = orchestrator("config", "show")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split("\n", 1)[1].startswith("# router uncalibrated")
    assert SHOWN in done.stdout and "s3cret" not in done.stdout
    assert (
        '\n[[monitors]]\nname = "milestone"\nsubgoals = ["${GOAL}"]\nevery = 5\n'
        '\n[[monitors]]\nname = "overthinking"\nrisk = 0.05\nsignal = "trial-answer"\nfile = ""\n'
        '\n[tools.python]\nname = "python"\ntimeout_s = 5.0\ncpu_s = 5\nmemory_mib = 256\nmax_chars = 4000\n'
        "needs_approval = false\n"
        '\n[tools.calculator]\nname = "calculator"\ntimeout_s = 5.0\nmax_chars = 4000\n'
    ) in done.stdout
    assert orchestrator("config", "validate").stdout == (
        "orchestrator.toml is valid: engines small, large; router SpecReason; mode think(512); "
        "monitors milestone, overthinking; tools python, calculator\n"
    )
    file.write_text(done.stdout)
    assert json.loads(orchestrator("config", "show", "--json").stdout)["mode"] == "think(512)"


def test_a_mode_that_is_a_policy_is_shown_as_a_table(orchestrator: Call, here: Path) -> None:
    (here / "orchestrator.toml").write_text('mode = "effort(0.5)"\nmonitors = []\n')
    shown = json.loads(orchestrator("config", "show", "--json").stdout)
    assert shown["mode"] == {"name": "effort", "effort": 0.5, "similar": "length", "least": 4, "free": 0.05}
    assert (shown["fallback"], shown["monitors"], shown["tools"]) == ("as-it-is", [], {})
    assert "monitors = []" in orchestrator("config", "show").stdout
