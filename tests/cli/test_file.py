"""`orchestrator run TASKS.jsonl`."""

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

COUNTING = r'''
"""Counts its calls in a file, and fails where a file says so."""
from pathlib import Path
import orchestrator as orc
from orchestrator.errors import EngineRejected

def small(request):
    asked = bytes(request.prompt.ids()).decode().split("\n")[0]
    with open("calls.txt", "a") as calls:
        calls.write(asked + "\n")
    if Path("broken").exists() and "two" in asked:
        return EngineRejected("engine 'small': it said no", engine="small")
    return "Answer: " + asked.removeprefix("user: ")

pipeline = orc.Pipeline(engines={"small": orc.engines.Scripted(small)}, router="small")
'''


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def stable(text: str) -> list[dict[str, Any]]:
    """Return result lines by position, without what differs from run to run."""
    kept = [{key: value for key, value in line.items() if key not in ("run_id", "seconds")} for line in lines(text)]
    return sorted(kept, key=lambda line: line["position"])


@pytest.fixture
def tasks(here: Path) -> Path:
    file = here / "tasks.jsonl"
    file.write_text(
        '{"prompt": "one", "id": 1, "answer": "one"}\n'
        '{"prompt": "two", "id": "b", "answer": "2"}\n'
        "\n"
        '{"messages": [{"role": "user", "content": "three"}]}\n'
    )
    return file


@pytest.fixture
def counting(here: Path) -> str:
    (here / "counting.py").write_text(COUNTING)
    return "counting.py:pipeline"


def calls(here: Path) -> list[str]:
    return sorted((here / "calls.txt").read_text().splitlines())


def result(position: int, id: Any, answer: str | None, **more: Any) -> dict[str, Any]:
    tokens = len(f"Answer: {answer}")
    common = {"position": position, "id": id, "status": "completed", "answer": answer, "steps": 1}
    return {**common, "output_tokens": tokens, "large_share": 1.0, "error": None, **more}


THREE = [result(0, 1, "one", correct=True), result(1, "b", "two", correct=False), result(2, None, "three")]


def test_every_task_gives_one_line_with_its_place_and_id(
    orchestrator: Call, tasks: Path, counting: str, settle: Callable[[str], str]
) -> None:
    done = orchestrator("run", "tasks.jsonl", "--pipeline", counting)
    assert done.exit_code == 0
    assert stable(done.stdout) == THREE
    assert settle(done.stderr) == "3 tasks · 3 completed · 1 of 2 correct · <s> s\n"


def test_out_gets_the_same_lines_and_stdout_none(orchestrator: Call, tasks: Path, counting: str, here: Path) -> None:
    done = orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--out", "r.jsonl", "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert stable((here / "r.jsonl").read_text()) == THREE


def test_an_existing_out_is_left_as_it_is(orchestrator: Call, tasks: Path, counting: str, here: Path) -> None:
    (here / "r.jsonl").write_text("precious\n")
    done = orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--out", "r.jsonl")
    assert done.exit_code == 2
    assert done.stderr == "error: r.jsonl exists: continue it with --resume, or choose another file\n"
    again = orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--out", "r.jsonl", "--resume")
    assert again.exit_code == 2
    assert again.stderr == "error: r.jsonl line 1 is no result of this command: choose another file\n"
    assert (here / "r.jsonl").read_text() == "precious\n"
    assert not (here / "calls.txt").exists()


def test_bad_lines_are_named_and_the_other_tasks_still_run(
    orchestrator: Call, here: Path, counting: str, settle: Callable[[str], str]
) -> None:
    (here / "tasks.jsonl").write_bytes(
        b'{"prompt": "one"}\n'
        b"not json\n"
        b'{"question": "two", "id": 7}\n'
        b'{"prompt": ""}\n'
        b'{"prompt": 5}\n'
        b'{"prompt": "\xff"}\n'
        b'{"messages": [{"role": "king", "content": "x"}]}\n'
        b'{"prompt": "six", "id": [1]}\n'
        b"[1]\n"
        b'{"prompt": "seven"}\n'
    )
    done = orchestrator("run", "tasks.jsonl", "--pipeline", counting)
    assert done.exit_code == 2
    said = {
        2: "not JSON: Expecting value (column 1)",
        3: "it lacks a `prompt` or `messages`; it has question, id",
        4: "the prompt is empty: give a question or messages with text",
        5: "`prompt` must be a text, not 5",
        6: "not UTF-8 text (byte 12)",
        7: "a message has role 'king'; known: system, user, assistant, tool",
        8: "`id` must be a text or an integer, not [1]",
        9: "not a JSON object: write an object with a `prompt`",
    }
    *named, summary = settle(done.stderr).splitlines()
    assert named == [f"tasks.jsonl:{number}: {what}" for number, what in said.items()]
    assert summary == "2 tasks · 2 completed · 8 bad lines · <s> s"
    results = {line["position"]: line for line in lines(done.stdout)}
    assert [results[place]["answer"] for place in (0, 9)] == ["one", "seven"]
    assert [(results[n - 1]["status"], results[n - 1]["error"]) for n in said] == [
        ("failed", f"line {n}: {what}") for n, what in said.items()
    ]
    assert results[2]["id"] == 7


def test_a_failed_task_is_exit_code_1_and_resume_runs_only_that_one(
    orchestrator: Call, tasks: Path, counting: str, here: Path
) -> None:
    (here / "broken").touch()
    done = orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--out", "r.jsonl")
    assert done.exit_code == 1
    failed = stable((here / "r.jsonl").read_text())[1]
    assert (failed["status"], failed["answer"], failed["correct"]) == ("failed", None, False)
    assert failed["error"] == "engine 'small': it said no"
    (here / "broken").unlink()
    (here / "calls.txt").unlink()
    again = orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--out", "r.jsonl", "--resume")
    assert again.exit_code == 0
    assert calls(here) == ["user: two"]
    results = stable((here / "r.jsonl").read_text())
    assert [line["answer"] for line in results] == ["one", "two", "three"]
    assert again.stderr.startswith("1 task · 1 completed · 0 of 1 correct · 2 finished before")


def test_a_line_that_was_lost_or_cut_off_is_written_again_without_any_call(
    orchestrator: Call, tasks: Path, counting: str, here: Path
) -> None:
    orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--out", "r.jsonl")
    whole = (here / "r.jsonl").read_text()
    first, second, _ = whole.splitlines(keepends=True)
    (here / "r.jsonl").write_text(first + second[:20])
    (here / "calls.txt").unlink()
    done = orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--out", "r.jsonl", "--resume")
    assert done.exit_code == 0
    assert not (here / "calls.txt").exists()
    assert sorted(lines((here / "r.jsonl").read_text()), key=str) == sorted(lines(whole), key=str)


def test_resume_to_stdout_prints_only_what_was_not_finished(
    orchestrator: Call, tasks: Path, counting: str, here: Path
) -> None:
    (here / "broken").touch()
    orchestrator("run", "tasks.jsonl", "--pipeline", counting)
    (here / "broken").unlink()
    done = orchestrator("run", "--resume", "--pipeline", counting)
    assert [line["answer"] for line in lines(done.stdout)] == ["two"]
    assert done.stderr.startswith(f"resuming {here}/tasks.jsonl\n")


def test_a_finished_file_cannot_be_gone_on_with_under_other_settings(
    orchestrator: Call, tasks: Path, counting: str, here: Path
) -> None:
    orchestrator("run", "tasks.jsonl", "--pipeline", counting)
    (here / "counting.py").write_text(COUNTING.replace('router="small"', 'router="small", seed=9'))
    with tasks.open("a") as file:
        file.write('{"prompt": "four"}\n')
    done = orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--resume")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "was made with seed = 0, not 9" in done.stderr


def test_a_budget_that_stopped_a_task_is_exit_code_4(orchestrator: Call, tasks: Path, here: Path) -> None:
    source = COUNTING.replace('router="small"', 'router="small", budget=orc.Budget(tokens=5)')
    (here / "counting.py").write_text(source)
    done = orchestrator("run", "tasks.jsonl", "--pipeline", "counting.py:pipeline")
    assert done.exit_code == 4
    assert {line["status"] for line in lines(done.stdout)} == {"budget"}
    assert all(line["error"].startswith("budget 'tokens' is used up") for line in lines(done.stdout))


def test_concurrency_limits_how_many_tasks_run_side_by_side(orchestrator: Call, tasks: Path, here: Path) -> None:
    (here / "agent.py").write_text("""
import asyncio
import orchestrator as orc
running = []

async def small(request):
    running.append(1)
    await asyncio.sleep(0.02)
    most = len(running)
    running.pop()
    return f"Answer: {most}"

pipeline = orc.Pipeline(engines={"small": orc.engines.Scripted(small)}, router="small")
""")
    done = orchestrator("run", "tasks.jsonl", "--pipeline", "agent.py:pipeline", "--concurrency", "2")
    assert max(line["answer"] for line in lines(done.stdout)) == "2"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("gone.jsonl", None, "gone.jsonl: No such file or directory"),
        ("empty.jsonl", "\n\n", "empty.jsonl holds no task: write one JSON object with a `prompt` per line"),
    ],
)
def test_a_file_without_tasks_is_one_line(
    orchestrator: Call, here: Path, counting: str, name: str, content: str | None, line: str
) -> None:
    if content is not None:
        (here / name).write_text(content)
    done = orchestrator("run", name, "--pipeline", counting)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"error: {line}\n")


def test_runs_of_a_file_are_in_the_journal_under_its_absolute_path(
    orchestrator: Call, tasks: Path, counting: str, here: Path, home: Path
) -> None:
    orchestrator("run", "tasks.jsonl", "--pipeline", counting)
    with Store(home / "journal.db", readonly=True) as store:
        journal = Journal(store)
        (batch,) = journal.batches(f"file:{here}/tasks.jsonl#")
        assert len(journal.batch(batch)) == 3


@pytest.mark.parametrize(("limits", "code"), [("context=20", 2), ("", 1)])
def test_a_prompt_that_is_too_long_is_exit_code_2_and_no_answer_is_1(
    orchestrator: Call, here: Path, limits: str, code: int
) -> None:
    (here / "agent.py").write_text(
        "import orchestrator as orc\n"
        f"def script(): return orc.engines.Scripted(lambda request: 'no idea', {limits})\n"
        "def pipeline(): return orc.Pipeline({'small': script(), 'large': script()}, 'small')\n"
    )
    (here / "tasks.jsonl").write_text('{"prompt": "a question of more than twenty bytes"}\n')
    done = orchestrator("run", "tasks.jsonl", "--pipeline", "agent.py:pipeline")
    assert done.exit_code == code, done.output
    result = lines(done.stdout)[0]
    assert result["status"] == ("failed" if code == 2 else "no_answer")
    assert ("context" in (result["error"] or "")) == (code == 2)


def test_a_file_that_was_edited_is_not_resumed(orchestrator: Call, tasks: Path, counting: str, here: Path) -> None:
    assert orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--out", "r.jsonl").exit_code == 0
    before = (here / "r.jsonl").read_text()
    first, *others = tasks.read_text().splitlines(keepends=True)
    tasks.write_text("".join([first, '{"prompt": "inserted"}\n', *others]))
    again = orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--out", "r.jsonl", "--resume")
    assert again.exit_code == 2
    assert "tasks.jsonl:2: another task stood here when it was run" in again.stderr
    assert (here / "r.jsonl").read_text() == before
    tasks.write_text("".join([first, *others, '{"prompt": "appended"}\n']))
    assert orchestrator("run", "tasks.jsonl", "--pipeline", counting, "--out", "r.jsonl", "--resume").exit_code == 0


BLIND = r'''
"""A judge that gives every step the same digit."""
import orchestrator as orc

def writer(request):
    if request.purpose == "judge":
        return "8"
    place = bytes(request.prompt.ids()).count(b"\n\n")
    return f"Step {place}.\n\n" if place < 7 else "Answer: 1"

pipeline = orc.Pipeline({name: orc.engines.Scripted(writer) for name in ("small", "large")}, orc.routers.SpecReason())
'''


def test_a_judge_that_rates_all_steps_of_all_tasks_alike_is_told_once(orchestrator: Call, here: Path) -> None:
    (here / "blind.py").write_text(BLIND)
    (here / "many.jsonl").write_text('{"prompt": "?"}\n' * 12)
    ran = orchestrator("run", "many.jsonl", "--pipeline", "blind.py:pipeline")
    assert ran.exit_code == 0, ran.stderr
    assert ran.stderr.count("readings of judge in a row are all") == 1
    assert "in a row" not in orchestrator("run", "many.jsonl", "--pipeline", "blind.py:pipeline", "--quiet").stderr
