"""`orchestrator calibrate-exits`: from tasks to a file that ends thoughts, and all that stands in the way of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from orchestrator.config import monitor_file
from orchestrator.monitors.exit_file import KIND, ExitFile
from orchestrator.traces.record import RunRecord

Call = Callable[..., Result]

AGENT = r'''
"""Thinks four times about `add N.`; early in every tenth task it would answer wrongly, and less surely."""

from math import log
from pathlib import Path

import orchestrator as orc
from orchestrator.engines.scripted import Reply
from orchestrator.errors import EngineRejected
from orchestrator.monitors import Overthinking

SURE, LESS_SURE = 0.9, 0.6


def thinking(request):
    if request.purpose == "fingerprint":
        return "hm"
    if Path("down").exists():
        raise EngineRejected("the server is ill", engine="small")
    with open("calls.txt", "a") as calls:
        calls.write("call\n")
    text = bytes(request.prompt.ids()).decode()
    number = int(text.partition("add ")[2].partition(".")[0])
    done = text.count("once more")
    if request.purpose == "probe":
        is_wrong = number % 10 == 0 and done == 1
        answer = str(number + 1 + is_wrong)
        return Reply(text=answer + "}", top={answer[0]: log(LESS_SURE if is_wrong else SURE)})
    if done < 4 and "</think>" not in text:
        return "<think>" * (done == 0) + f"add {number}, once more\n\n"
    return f"</think>\\boxed{{{number + 1}}}"


def made(**options):
    given = {"monitors": [Overthinking()], **options}
    return orc.Pipeline({"small": orc.engines.Scripted(thinking)}, "small", db="journal.db", **given)


def used(risk=0.05, **options):
    return made(monitors=[Overthinking(file="exits.json", risk=risk)], **options)
'''
RUN = ("calibrate-exits", "--tasks", "tasks.jsonl", "--split", "all", "--option", "when=steps")
WITH = ("--pipeline", "agent.py:made", "--out", "exits.json")


@pytest.fixture(autouse=True)
def agent(here: Path) -> None:
    (here / "agent.py").write_text(AGENT)
    (here / "tasks.jsonl").write_text("".join(f'{{"prompt": "add {n}.", "answer": "{n + 1}"}}\n' for n in range(60)))


def written() -> ExitFile:
    found = monitor_file("exits.json", KIND)
    assert isinstance(found, ExitFile)
    return found


def last_run(orchestrator: Call) -> RunRecord:
    return RunRecord.model_validate_json(orchestrator("trace", "export", "last", "--db", "journal.db").stdout)


TABLE = """\
60 tasks        threshold  ended  saved %  of oracle %       mis-exits %
whole thoughts                 0      0.0
risk 0.02             0.6     60     72.1         99.6    0.0, up to 4.9
risk 0.05             0.6     60     72.1         99.6    0.0, up to 4.9
risk 0.1 <            0.6     60     72.1         99.6    0.0, up to 4.9
risk 0.2                0     60     74.2        102.6  10.0, up to 18.8
oracle                               72.3        100.0

60 tasks                harmed %  right %
whole thoughts                      100.0
risk 0.02         0.0, up to 4.9    100.0
risk 0.05         0.0, up to 4.9    100.0
risk 0.1 <        0.0, up to 4.9    100.0
risk 0.2        10.0, up to 18.8     90.0
oracle
ended: thoughts that an exit ends. saved: of all tokens of thought, looks taken
  off; oracle: right behind the first right answer. mis-exits: tasks whose
  thought ends on a wrong answer; harmed: of these, those whose whole thought
  came to a right one; up to: upper ends of one-sided 95% intervals.
risk 0.01: a level of 0.01 needs at least 99 tasks; there are 60

At a risk of 0.1 a new run ends on a wrong answer with that chance at most,
  where its task is drawn as these were: a thought ends from 0.6 on. The
  threshold was chosen on these tasks, so report what it does on others.
"""


def test_what_it_measured_is_shown_and_written_with_pair_and_circumstances(orchestrator: Call, here: Path) -> None:
    done = orchestrator(*RUN, *WITH, "--risk", "0.1")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == (
        "exits.json is written; use it with --monitor overthinking:signal=trial-answer,file=exits.json,risk=0.1\n"
    )
    assert done.stdout == TABLE
    known = written()
    assert (known.signal, known.mistake, known.workload, len(known.fitted_on)) == (
        "trial-answer",
        "wrong",
        "tasks.jsonl",
        60,
    )
    assert sorted(known.worst)[-7:] == [float("-inf"), *[pytest.approx(0.6)] * 6]
    assert known.options == {"when": "steps", "every": 1, "max_looks": 100}
    assert (known.under["delimiter"], known.under["mode"]) == ("\n\n", None)
    assert known.under["router"]["policy"] == "small"
    assert known.pair["writers"][0]["name"] == "small"
    [row] = [row for row in known.measured["risks"] if row["risk"] == 0.1]
    assert (row["exits"], row["mis_exits"], row["mis_exits_most"]) == (60, 0.0, pytest.approx(0.0487, abs=1e-3))


def test_json_has_every_figure(orchestrator: Call) -> None:
    done = orchestrator(*RUN, *WITH, "--confidence", "0.95", "--mistake", "harmful", "--json", "--quiet")
    assert (done.exit_code, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    risks = found.pop("risks")
    assert found.pop("oracle_saved") > 0.5
    assert found == {"signal": "trial-answer", "mistake": "harmful", "risk": 0.05, "tasks": 60, "confidence": 0.95}
    assert [(row["risk"], "refused" in row) for row in risks] == [
        (0.01, True),
        (0.02, True),
        (0.05, False),
        (0.1, False),
        (0.2, False),
    ]
    assert written().mistake == "harmful"


def test_a_run_with_the_file_ends_its_thought_and_the_trace_says_at_which_risk(orchestrator: Call, here: Path) -> None:
    orchestrator(*RUN, *WITH, "--quiet")
    done = orchestrator("run", "add 20.", "--pipeline", "agent.py:used")
    assert (done.exit_code, done.stdout) == (0, "21\n"), done.stderr
    run = last_run(orchestrator)
    [event] = [event for event in run.events if event.kind == "overthinking"]
    assert event.step == 1  # the first thought would have ended wrongly, and is not sure enough
    assert event.detail["reason"].startswith("it would answer '21' with confidence 0.9")
    assert event.detail["reason"].endswith(" tokens were thought; risk 0.05 (wrong)")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            'delimiter="\\n"',
            "monitor overthinking was calibrated with delimiter = '\\n\\n', not '\\n'; give the same, or",
        ),
        ('mode="think"', "monitor overthinking was calibrated with mode = None, not 'think'; give the same, or"),
    ],
)
def test_under_other_circumstances_it_is_refused(orchestrator: Call, here: Path, options: str, line: str) -> None:
    orchestrator(*RUN, *WITH, "--quiet")
    (here / "agent.py").write_text(AGENT + f"\nother = used({options})\n")
    done = orchestrator("run", "add 20.", "--pipeline", "agent.py:other")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {line}")


def test_for_other_engines_it_is_refused(orchestrator: Call, here: Path) -> None:
    orchestrator(*RUN, *WITH, "--quiet")
    (here / "agent.py").write_text(AGENT.replace('return "hm"', 'return "hum"'))
    done = orchestrator("run", "add 20.", "--pipeline", "agent.py:used")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: monitor overthinking was calibrated for another pair: ")


def test_the_same_command_goes_on_where_it_stopped(orchestrator: Call, here: Path) -> None:
    first = orchestrator(*RUN, *WITH)
    (here / "exits.json").unlink()
    (here / "calls.txt").unlink()
    again = orchestrator(*RUN, *WITH)
    assert (again.stdout, again.stderr) == (first.stdout, first.stderr)
    assert not (here / "calls.txt").exists()


def test_failed_runs_are_tried_again_and_nothing_is_written_before(orchestrator: Call, here: Path) -> None:
    (here / "down").touch()
    done = orchestrator(*RUN, *WITH)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == ("error: 60 of 60 runs failed: the same command tries them again; nothing is written\n")
    assert not (here / "exits.json").exists()
    (here / "down").unlink()
    assert orchestrator(*RUN, *WITH).exit_code == 0


def test_where_nothing_is_thought_there_is_nothing_to_calibrate(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text(AGENT.replace("done < 4", "done < 0").replace("</think>", ""))
    done = orchestrator(*RUN, *WITH)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: trial-answer found nothing to look at in 60 runs: do the engines think before they answer? "
        "Try --mode think, or --option when=steps\n"
    )


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--number", "18"), "--risk 0.05 needs at least 19 tasks; there are 18"),
        (("--number", "58", "--confidence", "0.95"), "--risk 0.05 with --confidence 0.95 needs at least 59 tasks; "),
        (("--risk", "0.01"), "--risk 0.01 needs at least 99 tasks; there are 60"),
        (("--risk", "1"), "Invalid value for '--risk': 1.0 is not in the range 0<x<1."),
        (("--signal", "mood"), "Invalid value for '--signal': 'mood' is not one of 'trial-answer', "),
        (("--option", "wen=steps"), "command line: trial-answer.wen: no such key; did you mean 'when'? known: "),
        (
            ("--option", "when=never"),
            "command line: trial-answer.when must be 'candidates', 'cues' or 'steps', not 'never'",
        ),
        (("--option", "threshold=0.5"), "--option threshold: leave it out, the calibration says it"),
        (("--option", "acts=true"), "--option acts: leave it out, the calibration says it"),
        (("--option", "when"), "--option 'when': write it as key=value"),
        (("--split", "mine"), "--split mine: tasks.jsonl has train, calibration, report, all"),
        (("--out", "agent.py"), "agent.py exists: choose another file, or take it away"),
        (("--out", "none/exits.json"), "none/exits.json cannot be written: its folder does not exist"),
        (("--tasks", "none.jsonl"), "none.jsonl"),
        (("--mode", "think"), "--pipeline brings its own engines and options: leave out --mode, or set it in the file"),
        (("--router", "large"), "--pipeline brings its own engines and options: leave out --router, or set it in"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_any_call(
    orchestrator: Call, here: Path, flags: tuple[str, ...], line: str
) -> None:
    done = orchestrator(*RUN, *WITH, *flags)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: {line}")
    assert not (here / "calls.txt").exists()
