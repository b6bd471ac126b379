"""`orchestrator calibrate`: from tasks to a file that a run uses, and every way in which there is no such file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Call = Callable[..., Result]

SOLVERS = (Path(__file__).parents[1] / "bench" / "solvers.py").read_text()
AGENT = """
from orchestrator.errors import EngineRejected

ODD = 0.0


def made():
    return Pipeline({"small": Scripted(answering), "large": Scripted(large)}, "specreason", db="journal.db")


def used():
    return Pipeline(
        {"small": Scripted(answering), "large": Scripted(large)},
        "specreason",
        calibration="calibration.json",
        db="journal.db",
    )


def answering(request):
    with open("calls.txt", "a") as calls:
        calls.write("call\\n")
    return "hm" if request.purpose == "fingerprint" else small()(served(request))


def contagious(request):
    def step_after(question, steps):
        step = next_step(question, steps)
        asked = (Message("user", question),)
        is_ill = any(check_step(asked, steps[:place], each) < 1 for place, each in enumerate(steps))
        return spoilt(step) if is_ill or (len(steps) == 1 and chance(question) < 0.5) else step

    return text_of(request, step_after)


def served(request):
    if Path("down").exists() and chance(asked_and_written(request)[0]) < 0.1:
        raise EngineRejected("the server is ill", engine="both")
    return request


_large = large


def large(request):
    if request.purpose == "fingerprint":
        return "hum"
    is_odd = request.purpose == "judge" and chance("odd", asked_and_written(request)) < ODD
    return "what?" if is_odd else _large(served(request))
"""
RUN = ("calibrate", "--router", "specreason", "--tasks", "random-calculation:preset=easy", "--number", "30")
WITH = ("--pipeline", "agent.py:made", "--out", "calibration.json", "--quiet")


@pytest.fixture(autouse=True)
def agent(here: Path) -> None:
    (here / "agent.py").write_text(SOLVERS + AGENT)


def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("calibration.json").read_text())
    return found


def test_the_cheapest_threshold_that_keeps_the_floor_is_written_and_used(orchestrator: Call) -> None:
    done = orchestrator(*RUN, *WITH, "--max-accuracy-loss", "0.3", "--values", "0|2|5|10")
    assert done.exit_code == 0, done.stderr
    assert "For max-accuracy-loss 0.3: threshold 5" in " ".join(done.stdout.split())
    found = stored()
    assert (found["fixes"], found["target"]) == ({"threshold": 5.0}, {"kind": "max-accuracy-loss", "value": 0.3})
    assert found["router"]["options"]["reading"] == "greedy"
    assert len(found["tasks"]["fingerprints"]) == 30
    value, low, high = found["measured"]["versus_large"]
    assert low <= value <= high
    assert found["measured"]["bound"] >= -0.3
    assert found["under"]["scorers"]["judge"]["serves"] == "scripted"
    used = orchestrator("run", "Compute 1+1.", "--pipeline", "agent.py:used")
    assert used.exit_code == 0, used.stderr
    shown = "".join(orchestrator("trace", "show", "--db", "journal.db").stdout.split())  # a line ends where it is full
    assert "calibratedformax-accuracy-loss0.3on30tasksofrandom-calculation:preset=easy" in shown


def test_what_was_calibrated_is_not_reported_on_the_same_tasks(orchestrator: Call) -> None:
    orchestrator(*RUN, *WITH, "--max-accuracy-loss", "0.3", "--values", "5")
    report = ("bench", "run", "--workload", "random-calculation:preset=easy", "--tasks", "5", "--quiet")
    policy = ("--policies", "specreason:calibration=calibration.json", "--pipeline", "agent.py:made")
    done = orchestrator(*report, *policy, "--split", "calibration", "--out", "a")
    assert done.exit_code == 2
    assert "was fitted on 5 of these 5 tasks" in done.stderr
    done = orchestrator(*report, *policy, "--out", "b")
    assert done.exit_code == 0, done.stderr
    assert "specreason:calibration=calibration.json" in json.loads(Path("b/summary.json").read_text())["policies"]


@pytest.mark.parametrize("given", ["7", "9"])
def test_a_threshold_beside_a_calibration_is_refused_be_it_the_default(orchestrator: Call, given: str) -> None:
    orchestrator(*RUN, *WITH, "--max-accuracy-loss", "0.3", "--values", "5")
    policy = ("--policies", f"specreason:threshold={given}:calibration=calibration.json", "--pipeline", "agent.py:made")
    done = orchestrator("bench", "run", "--workload", "random-calculation:preset=easy", *policy, "--out", "a")
    assert done.exit_code == 2
    assert "fixes threshold = 5" in done.stderr
    assert not Path("a").exists()


def test_values_come_from_the_readings_seen(orchestrator: Call) -> None:
    done = orchestrator(*RUN, *WITH, "--max-large-share", "0.9", "--json")
    assert done.exit_code == 0, done.stderr
    assert [each["threshold"] for each in json.loads(done.stdout)["settings"]] == [2, 9]


def test_the_same_command_goes_on_where_it_stopped(orchestrator: Call, here: Path) -> None:
    first = orchestrator(*RUN, *WITH, "--min-accuracy", "0.2", "--values", "2|5")
    (here / "calibration.json").unlink()
    (here / "calls.txt").unlink()
    again = orchestrator(*RUN, *WITH, "--min-accuracy", "0.2", "--values", "2|5")
    assert again.stdout == first.stdout
    assert len((here / "calls.txt").read_text().splitlines()) == 3  # who it is, and nothing else


@pytest.mark.parametrize("target", [("--min-accuracy", "0.2", "--values", "5"), ("--risk", "0.1")])
def test_failed_runs_are_no_wrong_answers_but_tried_again(
    orchestrator: Call, here: Path, target: tuple[str, ...]
) -> None:
    (here / "down").touch()
    done = orchestrator(*RUN, *WITH, *target)
    assert done.exit_code == 1
    [line] = done.stderr.splitlines()
    assert "runs failed, first s" in line and "the server is ill; nothing is written" in line
    assert not (here / "calibration.json").exists()
    (here / "down").unlink()
    done = orchestrator(*RUN, *WITH, *target)
    assert done.exit_code == 0, done.stderr
    assert (here / "calibration.json").exists()


@pytest.mark.parametrize("arguments", [("--risk", "0.1"), ("--min-accuracy", "0.2")])
def test_a_journal_in_memory_is_refused_where_traces_are_read_and_a_file_can_be_given(
    orchestrator: Call, here: Path, arguments: tuple[str, ...]
) -> None:
    (here / "agent.py").write_text((SOLVERS + AGENT).replace('db="journal.db"', 'db=":memory:"'))
    done = orchestrator(*RUN, *WITH, *arguments)
    assert (done.exit_code, (here / "calls.txt").exists()) == (2, False)
    assert "the journal is in memory" in done.stderr
    assert orchestrator(*RUN, *WITH, *arguments, "--db", "mine.db").exit_code == 0
    (here / "calibration.json").unlink()
    done = orchestrator(*RUN, *WITH, *arguments, "--db", "other.db")
    assert done.exit_code == 2
    assert "results in calibration.json.work were made with another journal than other.db" in done.stderr


def test_a_journal_in_memory_will_do_for_values_that_are_given(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text((SOLVERS + AGENT).replace('db="journal.db"', 'db=":memory:"'))
    for _ in range(2):
        done = orchestrator(*RUN, *WITH, "--min-accuracy", "0.2", "--values", "5")
        assert done.exit_code == 0, done.stderr
        (here / "calibration.json").unlink()


def test_what_makes_the_choice_doubtful_is_told_once_and_before_it(orchestrator: Call, here: Path) -> None:
    (here / "agent.py").write_text((SOLVERS + AGENT).replace("ODD = 0.0", "ODD = 0.5"))
    done = orchestrator(*RUN, *WITH[:-1], "--risk", "0.1")
    told = [line for line in done.stderr.splitlines() if "ratings could not be had" in line]
    assert len(told) == len(set(told)) == 2  # as it is, and at the threshold chosen
    assert all(line.startswith("warning: specreason") for line in told)
    quiet = orchestrator(*RUN, *WITH, "--out", "other.json", "--work", "calibration.json.work", "--risk", "0.1")
    assert (quiet.exit_code, quiet.stderr) == (done.exit_code, "")


def test_where_no_threshold_keeps_the_target_nothing_is_written_and_the_nearest_is_named(
    orchestrator: Call, here: Path
) -> None:
    done = orchestrator(*RUN, *WITH, "--max-large-share", "0.01", "--values", "5|9")
    assert done.exit_code == 1
    assert "no threshold keeps max-large-share 0.01: nearest is 5" in done.stderr
    assert "nothing is written" in done.stderr
    assert not (here / "calibration.json").exists()
    assert "threshold 9" in done.stdout


def test_a_risk_is_controlled_on_steps_that_can_be_checked(orchestrator: Call) -> None:
    done = orchestrator(*RUN, *WITH, "--risk", "0.1", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["chosen"] == 9  # wrong steps are rated 2, nine times in ten
    assert found["risk"]["loss"] <= 0.1
    assert found["risk"]["realised"][0] <= 0.1
    assert stored()["measured"]["risk"]["threshold"] == 9
    assert (stored()["measured"]["bound"], stored()["measured"]["is_met"]) == (None, None)


def test_a_risk_that_the_chosen_threshold_misses_when_it_is_run_is_refused(orchestrator: Call, here: Path) -> None:
    """Behind a mistake that is kept there are only mistakes; at the router's own threshold none is kept."""
    (here / "agent.py").write_text((SOLVERS + AGENT).replace("small()(", "contagious("))
    done = orchestrator(*RUN, *WITH, "--risk", "0.18", "--json")
    assert done.exit_code == 1
    [line] = done.stderr.splitlines()
    assert "run at 2 the router misses the risk of 0.18" in line and "nothing is written" in line
    assert not (here / "calibration.json").exists()
    found = json.loads(done.stdout)
    assert found["chosen"] is None
    assert found["risk"]["loss"] < 0.18 < found["risk"]["realised"][1]
    nearer = ("--router-option", "threshold=2", "--work", "nearer")
    done = orchestrator(*RUN, *WITH, *nearer, "--risk", "0.18")
    assert (done.exit_code, stored()["fixes"]) == (0, {"threshold": 9.0})


def test_a_risk_that_rejecting_everything_alone_would_keep_is_refused(orchestrator: Call, here: Path) -> None:
    done = orchestrator(*RUN, *WITH, "--risk", "0.034")
    assert done.exit_code == 1
    assert "no threshold keeps the risk at 0.034" in done.stderr
    assert not (here / "calibration.json").exists()


def test_a_risk_that_so_few_tasks_say_nothing_about_is_refused_with_the_number_needed(orchestrator: Call) -> None:
    done = orchestrator(*RUN, *WITH, "--risk", "0.02")
    assert done.exit_code == 2
    assert "needs at least 49 tasks; there are 30" in done.stderr


def test_few_tasks_are_warned_of(orchestrator: Call) -> None:
    done = orchestrator(*RUN, *WITH[:-1], "--min-accuracy", "0.1", "--values", "5")
    assert "warning: 30 tasks are few" in done.stderr
    assert "use it with --calibration calibration.json" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "give one target, not none: --max-accuracy-loss"),
        (("--risk", "0.1", "--min-accuracy", "0.9"), "give one target, not 2"),
        (("--min-accuracy", "1.5"), "--min-accuracy 1.5: give a number in [0, 1)"),
        (("--min-accuracy", "0.5", "--number", "1"), "--min-accuracy 0.5 needs at least 30 tasks; there are 1"),
        (("--min-accuracy", "0.99"), "--min-accuracy 0.99 needs at least 268 tasks; there are 30"),
        (("--min-accuracy", "0.5", "--option", "after_draft"), "router specreason has no option 'after_draft'"),
        (("--min-accuracy", "0.5", "--option", "needs"), "has no option 'needs' that takes any number"),
        (("--min-accuracy", "0.5", "--split", "dev"), "--split dev: random-calculation:preset=easy has train"),
        (("--min-accuracy", "0.5", "--values", "a|b"), "--values a|b: give numbers"),
        (("--min-accuracy", "0.5", "--values", "11"), "threshold = 11.0 is not in [0, 10]"),
        (("--min-accuracy", "0.5", "--option", "zeal"), "router specreason has no option 'zeal'"),
        (("--min-accuracy", "0.5", "--option", "first_n", "--values", "2|3"), "takes any number"),
        (("--min-accuracy", "0.5", "--router", "random", "--option", "seed"), "be chosen: choose large_share"),
        (("--min-accuracy", "0.5", "--router-option", "zeal=1"), "no such key"),
        (("--min-accuracy", "0.5", "--router", "nobody"), "no router named 'nobody'"),
        (("--min-accuracy", "0.5", "--out", "none/c.json"), "its folder does not exist"),
        (("--min-accuracy", "0.5", "--out", "agent.py"), "agent.py exists"),
        (("--min-accuracy", "0.5", "--router", "large"), "router large has no option 'threshold'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    orchestrator: Call, arguments: tuple[str, ...], line: str
) -> None:
    done = orchestrator(*RUN, *WITH, *arguments)
    assert done.exit_code == 2
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
