"""`orchestrator bench handbook`: from a file of tasks to a table that can be printed again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]
AGENT = """
from orchestrator.engines.scripted import Scripted
from orchestrator.runtime.pipeline import Pipeline


def says(request):
    text = bytes(request.prompt.ids()).decode()
    if "Now write down" in text:
        return '{"behavior_add_up": "When asked to add numbers, add them from the right."}'
    return "\\\\boxed{3}" if "1 + 2" in text or "behavior_add_up: When asked to add" in text else "\\\\boxed{0}"


def learns_nothing(request):
    text = bytes(request.prompt.ids()).decode()
    return "{}" if "Now write down" in text else says(request)


def made():
    return Pipeline({"large": Scripted(says)}, "large", db="journal.db")


def dull():
    return Pipeline({"dull": Scripted(learns_nothing), "large": Scripted(says)}, "large", db="journal.db")
"""
TASKS = [{"prompt": f"Add {n} numbers: {n} + {n + 1}", "answer": 3} for n in range(1, 7)]
RUN = ("bench", "handbook", "--workload", "tasks.jsonl", "--pipeline", "agent.py:made", "--out", "results", "--quiet")
NUMBERS = ("--tasks", "2", "--held-out", "1")


@pytest.fixture(autouse=True)
def files(here: Path) -> None:
    (here / "agent.py").write_text(AGENT)
    (here / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in TASKS))


def test_a_comparison_fills_its_folder_and_goes_on_and_is_reported_again(orchestrator: Call, here: Path) -> None:
    done = orchestrator(*RUN, *NUMBERS, "--second-attempts")
    assert done.exit_code == 0, done.stderr
    table = (here / "results" / "table.txt").read_text()
    assert done.stdout == table and table.startswith("2 tasks of jsonl:")
    learned = [json.loads(line) for line in (here / "results" / "handbook.jsonl").read_text().splitlines()]
    assert [each["name"] for each in learned] == ["behavior_add_up"]
    samples = (here / "results" / "samples.jsonl").read_text().splitlines()
    assert len(samples) == 2 * 5 + 3
    (here / "results" / "samples.jsonl").write_text("\n".join(samples[:6]) + "\n" + samples[6][:20])  # it died there
    again = orchestrator(*RUN, *NUMBERS, "--second-attempts")
    assert (again.exit_code, again.stdout) == (0, table)
    assert orchestrator("bench", "report", "results").stdout == table


@pytest.mark.parametrize(
    "more, said",
    [
        (("--tasks", "5", "--held-out", "2"), "too many"),
        ((*NUMBERS, "--handbook", "mine.db"), "leave out --handbook"),
        ((*NUMBERS, "--concurrency", "2"), "leave out --concurrency"),
        ((*NUMBERS, "--split", "none"), "has train, calibration, report, all"),
        ((*NUMBERS, "--strategist", "coach"), "--strategist coach: the pipeline has large"),
    ],
)
def test_what_makes_no_sense_is_refused(orchestrator: Call, more: tuple[str, ...], said: str) -> None:
    done = orchestrator(*RUN, *more)
    assert done.exit_code == 2 and said in done.stderr


def test_where_nothing_was_learned_that_is_said_first_and_nothing_is_compared(orchestrator: Call) -> None:
    run = [each.replace(":made", ":dull") for each in RUN]
    done = orchestrator(*run, *NUMBERS, "--second-attempts", "--strategist", "dull")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Nothing was learned, so there is no comparison")
    assert not any(line.startswith(("handbook ", "shuffled", "guided")) for line in lines)
    assert sum(line.startswith("revised") for line in lines) == 3  # right, output and prompt tokens
    assert sum(line.startswith("no handbook") for line in lines) == 6 and "less shuffled" not in done.stdout
    other = orchestrator(*run, *NUMBERS, "--second-attempts")
    assert other.exit_code == 2 and "strategist" in other.stderr


def test_other_settings_need_another_folder(orchestrator: Call) -> None:
    assert orchestrator(*RUN, "--tasks", "2", "--held-out", "0").exit_code == 0
    done = orchestrator(*RUN, "--tasks", "3", "--held-out", "0")
    assert done.exit_code == 2 and "tasks = 2, not 3" in done.stderr
