"""A user's own tasks: our format and GSM8K's, halved by what is asked, every bad line named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bench.workloads.base import Workload
from orchestrator.bench.workloads.jsonl import jsonl
from orchestrator.errors import BadTask, UnknownName, UserError
from orchestrator.types import Task


def written(folder: Path, *lines: Any) -> str:
    file = folder / "tasks.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(file)


@pytest.fixture
def forty(tmp_path: Path) -> Workload:
    return jsonl(written(tmp_path, *({"prompt": f"What is {n}+1?", "answer": n + 1} for n in range(40))))


def test_our_format(tmp_path: Path) -> None:
    workload = jsonl(
        written(
            tmp_path,
            {"prompt": "1+1?", "answer": 2},
            "",
            {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital?"}]}
            | {"answer": "Paris", "id": "capital"},
        )
    )
    tasks = {task.id: task for task in workload.draw("all", 0, 10)}
    assert {name: task.answer for name, task in tasks.items()} == {"line-1": "2", "capital": "Paris"}
    assert [message.role for message in tasks["capital"].messages] == ["system", "user"]
    assert workload.name == "tasks.jsonl"


def test_the_format_of_gsm8k(tmp_path: Path) -> None:
    workload = jsonl(
        written(
            tmp_path,
            "",
            {
                "question": "Ann has 3 hens and buys 2.\nHow many?",
                "answer": "She has 3 + 2 = <<3+2=5>>5 hens.\n#### 5",
            },
            "",
            {"question": "A car costs $1,200 and a bike a tenth. The bike?", "answer": "1,200/10 = 120\n#### 120"},
            {"question": "Without a working?", "answer": "7"},
            {"question": "With a number?", "answer": 8},
        ),
        scorer="numeric",
    )
    tasks = {task.id: task for task in workload.draw("all", 0, 10)}
    assert {name: task.answer for name, task in tasks.items()} == {
        "line-2": "5",
        "line-4": "120",
        "line-5": "7",
        "line-6": "8",
    }
    assert tasks["line-2"].messages[-1].content == "Ann has 3 hens and buys 2.\nHow many?"
    assert workload.score(tasks["line-4"], "It costs $120.00.") == 1


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    for line in ({"question": "?", "answer": "#### 1"}, {"prompt": "?", "answer": "1"}):
        [task] = jsonl(written(tmp_path, "\ufeff" + json.dumps(line))).draw("all", 0, 9)
        assert task.answer == "1"


def test_the_halves_share_no_task_and_make_up_all(forty: Workload) -> None:
    train, calibration, report, everything = ({task.id for task in forty.draw(split, 0, 99)} for split in forty.splits)
    assert forty.splits == ("train", "calibration", "report", "all")
    assert train and calibration and report
    assert not train & calibration and not train & report and not calibration & report
    assert train | calibration | report == everything
    assert len(everything) == 40


def test_where_a_task_belongs_does_not_depend_on_the_others(forty: Workload, tmp_path: Path) -> None:
    questions = {task.messages[-1].content for task in forty.draw("report", 0, 99)}
    alone = jsonl(written(tmp_path, *({"prompt": f"What is {n}+1?", "answer": "x"} for n in range(5, 15))))
    assert {task.messages[-1].content for task in alone.draw("report", 0, 99)} <= questions


def test_a_seed_draws_an_order_of_its_own(forty: Workload) -> None:
    draws = [[task.id for task in forty.draw("all", seed, 10)] for seed in range(3)]
    assert draws == [[task.id for task in forty.draw("all", seed, 10)] for seed in range(3)]
    assert len({tuple(draw) for draw in draws}) == 3


@pytest.mark.parametrize(
    "lines, said",
    [
        ([], "holds no task"),
        (["not json"], r":1: not JSON"),
        ([{"prompt": "?", "answer": "1"}, {"prompt": "!"}], ":2: no `answer`"),
        ([{"prompt": "?", "answer": " "}], ":1: no `answer`"),
        ([{"prompt": "?", "answer": None}], ":1: no `answer`"),
        ([{"prompt": " ", "answer": "1"}], ":1: the prompt is empty"),
        ([{"answer": "1"}], ":1: it lacks a `prompt`"),
        ([{"question": "?", "answer": "#### 1"}, {"question": "!"}], ":2: not a JSON object with `question` and"),
        ([{"question": "?", "answer": "#### 1"}, "[1]"], ":2: not a JSON object with `question` and"),
        ([{"question": "?", "answer": "#### 1"}, "{"], ":2: not a JSON object with `question` and"),
        ([{"question": "?", "answer": "worked out ####"}], ":1: no `answer`"),
        ([{"question": "?", "answer": None}], ":1: no `answer`"),
        ([{"question": "", "answer": "#### 1"}], ":1: `question` must be a text, not ''"),
        ([{"question": 5, "answer": "#### 1"}], ":1: `question` must be a text, not 5"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, lines: list[Any], said: str) -> None:
    with pytest.raises(BadTask, match=rf"tasks\.jsonl.*{said}"):
        jsonl(written(tmp_path, *lines))


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadTask, match=r"missing\.jsonl: No such file"):
        jsonl(str(tmp_path / "missing.jsonl"))


@pytest.mark.parametrize(
    "first, second, said",
    [
        ({"prompt": "?", "answer": "1"}, {"prompt": "?", "answer": "2"}, "line-1 and line-2 have the same question"),
        (
            {"prompt": "?", "answer": "1", "id": "a"},
            {"prompt": "!", "answer": "2", "id": "a"},
            "a and a have the same id",
        ),
        (
            {"question": "?", "answer": "1"},
            {"question": "?", "answer": "1"},
            "line-1 and line-2 have the same question",
        ),
    ],
)
def test_a_task_may_count_once_only(tmp_path: Path, first: Any, second: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        jsonl(written(tmp_path, first, second))


def half_right(task: Task, answer: str | None) -> float:
    return 0.5


class Stern:
    def __call__(self, task: Task, answer: str | None) -> float:
        return 0.0


def test_a_scorer_is_a_name_or_a_function(tmp_path: Path) -> None:
    file = written(tmp_path, {"prompt": "?", "answer": "1"})
    [task] = jsonl(file).draw("all", 0, 1)
    assert jsonl(file).score(task, "1.0") == 1
    assert jsonl(file, "regex").score(task, "1.0") == 0
    assert jsonl(file, half_right).score(task, None) == 0.5
    assert jsonl(file, Stern()).settings["scorer"].endswith("test_jsonl:Stern")
    with pytest.raises(UnknownName, match="no scorer named 'exactly'"):
        jsonl(file, "exactly")
    with pytest.raises(UserError, match="the scorer 7 is no function"):
        jsonl(file, 7)  # type: ignore[arg-type]


def test_the_settings_change_with_the_file_and_the_scorer(tmp_path: Path) -> None:
    file = written(tmp_path, {"prompt": "?", "answer": "1"})
    before = jsonl(file).settings
    assert jsonl(file, "numeric").settings != before
    assert jsonl(file, half_right).settings["scorer"].endswith("test_jsonl:half_right")
    assert jsonl(written(tmp_path, {"prompt": "?", "answer": "2"})).settings != before
