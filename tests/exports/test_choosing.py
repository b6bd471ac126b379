"""Which runs an export reads, and what it says about the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from marked import pipeline, tasks

from orchestrator.bench.workloads.owner import split_of
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import UnknownName, UserError
from orchestrator.exports.choosing import Wanted, chosen, lines_of
from orchestrator.exports.lines import LeftOut
from orchestrator.learning.second_attempts import SecondAttempts
from orchestrator.memory.journal import Journal
from orchestrator.runtime.opening import task_of
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync
from orchestrator.types import Budget, Status, Task

SPLITS = {"Question 0?": "train", "Question 1?": "report", "Question 2?": "train"}


def owner(task: Task) -> str:
    return SPLITS[task.messages[0].content]


def wanted(**but: Any) -> Wanted:
    return Wanted(split_of=but.pop("split_of", owner), **but)


@pytest.fixture
def journal() -> Iterator[Journal]:
    with pipeline() as made:
        for number, task in enumerate(tasks(3)):
            made.run(task, run_id=f"run{number}", batch=f"batch {number}")
        yield made.journal


def ids(journal: Journal, wanted: Wanted) -> tuple[list[str], Counter[str]]:
    left: Counter[str] = Counter()
    return [each.stored.run.id for each in chosen(journal, wanted, left)], left


def test_runs_come_oldest_first_and_what_benchmarks_report_on_is_left_out_aloud(journal: Journal) -> None:
    found, left = ids(journal, wanted())
    assert found == ["run0", "run2"]
    assert left == {"their tasks are of the split report, and --split train is asked for": 1}
    assert ids(journal, wanted(split="report"))[0] == ["run1"]
    assert ids(journal, wanted(split="all"))[0] == ["run0", "run1", "run2"]


def test_runs_are_chosen_by_name_batch_status_and_time(journal: Journal) -> None:
    began = journal.run("run2").run.created_s
    assert ids(journal, wanted(names=("last", "run0", "run2")))[0] == ["run0", "run2"]
    assert ids(journal, wanted(batch="batch 2")) == (["run2"], {"they are of another batch": 2})
    assert ids(journal, wanted(statuses=(Status.BUDGET,)))[1] == {"their status is completed": 3}
    assert ids(journal, wanted(since_s=began))[0] == ["run2"]
    assert ids(journal, wanted(until_s=began))[0] == ["run0"]
    with pytest.raises(UnknownName):
        ids(journal, wanted(names=("none",)))


@pytest.mark.parametrize(
    ("batch", "why"),
    [
        ("learn 1", "they are questions of a learner, and no tasks"),
        ("train-monitor:1", "they are questions of a learner, and no tasks"),
        ("reversed", "they are traces of `export reverse`"),
        ("revised 00000000000000r1", "they are second attempts"),
        ("guided 00000000000000r1", "they are second attempts"),
    ],
)
def test_what_was_run_to_learn_is_no_task(batch: str, why: str) -> None:
    with pipeline() as made:
        run = made.run("Question 0?", batch=batch).run_id
        assert ids(made.journal, wanted()) == ([], {why: 1})
        made.graph.invoke({"run": made.graph.invoke({"run": run, "step": 1})["run"], "step": 1})
        assert ids(made.journal, wanted(names=("last",))) == ([], {why: 1})  # a fork is not another thing
        assert ids(made.journal, wanted()) == ([], {why: 3})


def test_second_attempts_at_what_benchmarks_report_on_are_not_exported_whatever_split_their_text_falls_into() -> None:
    async def tried(made: Pipeline) -> None:
        for number in range(12):
            first = await made.arun(f"Question {number}?")
            await SecondAttempts(made).revised(first.run_id)

    left: Counter[str] = Counter()
    engines = {"small": Scripted(lambda request: "\\boxed{1}")}
    with Pipeline(engines, "small", db=":memory:", budget=Budget(tokens=4000)) as made:
        run_sync(tried(made))
        runs = [task_of(made.journal.at(each.key)) for each in made.journal.each_run()]
        found = [*chosen(made.journal, wanted(split_of=split_of, split="all"), left)]
    owners = [(split_of(first), split_of(second)) for first, second in zip(runs[::2], runs[1::2], strict=True)]
    assert any(first == "report" != second for first, second in owners)
    assert [each.task for each in found] == runs[::2] and left == {"they are second attempts": 12}


def test_a_run_that_has_not_ended_is_left_out(journal: Journal) -> None:
    key = journal.open_run(journal.run("run0").run._replace(id="unended"))
    journal.release(key)
    assert ids(journal, wanted())[1]["they have not ended"] == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"split": "test"}, "split = 'test'"),
        ({"since_s": 5.0, "until_s": 5.0}, "later than"),
        ({"since_s": float("nan")}, "later"),
    ],
)
def test_what_no_run_can_be_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        wanted(**options)


def test_a_run_that_gives_no_line_is_counted_and_the_others_go_on(journal: Journal) -> None:
    def make(run: Any) -> list[dict[str, Any]]:
        if run.stored.run.id == "run0":
            raise LeftOut("it is the first")
        return [run.about]

    left: Counter[str] = Counter()
    found = [*lines_of(chosen(journal, wanted(split="all"), left), make, left)]
    assert [each["run"] for each in found] == ["run1", "run2"] and left == {"it is the first": 1}


def test_runs_are_read_one_at_a_time(journal: Journal) -> None:
    """What is stored while an export goes on is read as well, so nothing was read ahead."""
    reading: Callable[[], Any] = chosen(journal, wanted(split="all"), Counter()).__next__
    assert reading().stored.run.id == "run0"
    first = journal.run("run0")
    assert first.outcome is not None
    key = journal.open_run(first.run._replace(id="late"))
    journal.conclude(first.outcome._replace(run=key), None, ())
    assert [reading().stored.run.id for _ in range(3)] == ["run1", "run2", "late"]
