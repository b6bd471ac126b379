"""Watched runs: each task once, to its end, and read back from the journal."""

from __future__ import annotations

import pytest

import orchestrator as orc
from orchestrator.errors import UserError
from orchestrator.learning.watching import Watching
from orchestrator.monitors import TrialAnswer
from orchestrator.types import Task

EXIT = TrialAnswer(acts=False)


def tasks(*questions: str) -> list[Task]:
    return [Task(messages=Task.of(question).messages, answer="5") for question in questions]


def pipeline() -> orc.Pipeline:
    scripted = orc.engines.Scripted(lambda request: "\\boxed{5}")
    return orc.Pipeline(engines={"small": scripted}, router="small", monitors=(), db=":memory:")


async def test_each_task_is_run_once_and_its_thought_read_from_the_journal() -> None:
    async with pipeline() as lent:
        watching = Watching(lent, tasks("2+3", "1+4", "2+3"), EXIT)
        assert len(watching) == 2
        ended: list[str] = []
        for _ in range(2):
            await watching.run(2, lambda result: ended.append(result.run_id))
        assert set(ended) == set(watching.run_ids)
        found = watching.thoughts()
        assert [each.task for each in found] == watching.fingerprints
        assert all(each.is_right and each.tokens for each in found)
        assert watching.failed == 0


@pytest.mark.parametrize(
    ("given", "exit", "told"),
    [
        (tasks("2+3"), TrialAnswer(), "must have acts = false"),
        ([Task.of("2+3")], EXIT, "task '2[+]3' has no answer"),
        ([], EXIT, "there is no task"),
    ],
)
async def test_what_could_not_be_watched_is_refused(given: list[Task], exit: TrialAnswer, told: str) -> None:
    async with pipeline() as lent:
        with pytest.raises(UserError, match=told):
            Watching(lent, given, exit)
