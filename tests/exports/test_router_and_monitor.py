"""What routers and monitors learn from: the rows and labels that their trainers read, line by line."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from errand_runs import Loops, errands_drawn, looping, steps_of, store, task_of, worked
from marked import STEPS, is_marked, pipeline, tasks
from readable import check_chat

from orchestrator.exports import monitor, router
from orchestrator.exports.choosing import Chosen
from orchestrator.exports.lines import LeftOut
from orchestrator.exports.monitor import Labelling, MonitorLine
from orchestrator.exports.router import RouterLine
from orchestrator.learning.collecting import Collection
from orchestrator.learning.labelled import example_of
from orchestrator.learning.labelling import by_rules
from orchestrator.learning.looks import watched
from orchestrator.learning.table import split_of, table_of
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.routers.collect import Collect
from orchestrator.runtime.tasks import fingerprint
from orchestrator.types import Task


def test_a_line_of_a_router_is_what_its_trainers_read() -> None:
    task = tasks(1)[0]
    with pipeline() as made:
        collection = Collection(made, [task], Collect(scorer="prm", also=("verifier",), logprobs=1))
        asyncio.run(collection.run(1))
        about, rows = asyncio.run(collection.about()), list(collection.rows())
        run = Chosen(made.journal.run(collection.run_ids[0]), None, task, "train")
    found = router.lines(run)
    assert [each["step"] for each in found] == [*range(STEPS + 1)]
    for each, row in zip(found, rows, strict=True):
        RouterLine.model_validate(each)
        example = example_of(row)
        assert (tuple(each["pieces"]), each["label"], each["part"]) == (example.pieces, example.label, example.split)
        assert each["label"] == (row.index < STEPS and is_marked(row.question, row.index))
        assert each["task"] == row.task == fingerprint(task)
        table = table_of(about, [row], tuple(each["features"]))
        assert list(each["features"].values()) == table.values[0].tolist()
        assert each["scorer"] == "prm" and each["draft"] == row.draft
        assert each["targets"] == [{"text": target.text, "score": target.score} for target in row.targets]
    history = {*found[0]["features"]} - {*router.lines(run, history=False)[0]["features"]}
    assert history and all("large" in name or "writer" in name for name in history), history


def test_a_run_that_was_not_collected_gives_no_line() -> None:
    with pipeline() as made, pytest.raises(LeftOut, match="no runs of `orchestrator collect`"):
        stored = made.journal.run(made.run("Question 0?").run_id)
        router.lines(Chosen(stored, None, Task.of("Question 0?"), "train"))


def test_a_line_of_a_monitor_is_a_look_with_its_label() -> None:
    with Store(":memory:") as opened:
        journal = Journal(opened)
        good, bad = errands_drawn(2)
        runs = []
        for errand, turns in ((good, worked(good) * 3), (bad, looping(bad))):
            answer = errand.answer if errand is good else None
            errand = replace(errand, prompt=f"{errand.prompt} Now.")
            stored = journal.run(store(journal, errand, steps_of(turns, answer or ""), answer=answer))
            runs.append(Chosen(stored, None, task_of(errand), "train"))
        labelling = Labelling("stuck", 6, 3, Loops())
        labels = []
        for run in runs:
            looked = watched([run.stored], "stuck", 6, 3)
            expected = by_rules(Loops(), "stuck", looked)
            found = monitor.lines(run, labelling)
            assert {(each["run"], each["step"]): each["label"] for each in found} == expected
            texts = {look.step: look.text for look in looked[0].looks}
            for each in found:
                MonitorLine.model_validate(each)
                assert each["text"] == texts[each["step"]] and each["text"] in each["messages"][0]["content"]
                assert each["messages"][1]["content"] == ("Answer: yes" if each["label"] else "Answer: no")
                assert each["part"] == split_of(each["task"])
                check_chat(each["messages"])
            labels += [each["label"] for each in found]
        assert {*labels} == {True, False}
        people = Labelling("stuck", 6, 3, None, [{(runs[1].stored.run.id, 8): False}])
        assert [each["label"] for each in monitor.lines(runs[1], people)] == [False]
        with pytest.raises(LeftOut, match="nobody labels"):
            monitor.lines(runs[0], people)
        with pytest.raises(LeftOut, match="too short"):
            monitor.lines(runs[0], Labelling("stuck", 6, 99, Loops()))
