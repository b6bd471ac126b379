"""Traces in which the student says, token by token, what it takes of the teacher's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
from readable import check_chat, type_of

import orchestrator as orc
from orchestrator.bench.workloads.generated import random_calculation
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import EngineRejected, MissingCapability, UserError
from orchestrator.exports.choosing import REVERSED, Chosen
from orchestrator.exports.lines import LeftOut
from orchestrator.exports.reverse import ReverseLine, Traces
from orchestrator.exports.reversing import Reverse, chance
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Status, Task, TokenLogprob

TASK = replace(Task.of("What is 6*7?"), answer="42")
TEACHER, STUDENT = r"So: \boxed{42}", r"Oh! \boxed{42}"


def written(request: Request) -> str:
    assert request.prompt is not None
    return bytes(request.prompt.ids()).decode().partition("assistant: ")[2]


def teacher(request: Request) -> str:
    return TEACHER[len(written(request)) :]


def student(prob: float) -> Callable[[Request], Reply]:
    """Return a student that writes its own text, and gives the teacher's token `prob` where that differs."""

    def reply(request: Request) -> Reply:
        place = len(written(request))
        own, theirs = STUDENT[place : place + 1], TEACHER[place : place + 1]
        top = {own: log(1 - prob), theirs: log(prob)} if own != theirs else {own: log(0.9)}
        return Reply(text=STUDENT[place:], top=top if own else {})

    return reply


def pair(prob: float = 0.5, db: Path | str = ":memory:", **student_options: Any) -> Pipeline:
    engines = {
        "small": Scripted(student(prob), name="small", **student_options),
        "large": Scripted(teacher, name="large"),
    }
    return Pipeline(engines, "small", db=db)


def source(pipeline: Pipeline) -> Chosen:
    """Return a run of the task that others made."""
    stored = pipeline.journal.stored("source")
    if stored is None:
        pipeline.run(TASK, run_id="source")
        stored = pipeline.journal.run("source")
    return Chosen(stored, None, TASK, "train")


def traced(pipeline: Pipeline, options: Reverse = Reverse()) -> dict[str, Any]:  # noqa: B008 - frozen
    async def trace() -> dict[str, Any]:
        made = Traces(pipeline, options)
        await made.check()
        (found,) = await made.write_all([source(pipeline)], 2, Counter())
        return made.line(found)

    with pipeline:
        return asyncio.run(trace())


@pytest.mark.parametrize(
    ("prob", "text", "accepted", "replaced"),
    [(0.5, TEACHER, 14, 0), (0.01, TEACHER, 14, 0), (0.0099, STUDENT, 11, 3), (0.999, TEACHER, 14, 0)],
)
def test_a_token_of_the_teachers_stands_from_the_threshold_on(
    prob: float, text: str, accepted: int, replaced: int
) -> None:
    options = Reverse(threshold=exp(log(0.01)))  # what a probability of 0.01 comes back as
    made = traced(pair(prob), options)
    assert made["messages"][-1]["content"] == text
    assert (made["tokens"], made["accepted"], made["replaced"], made["unread"]) == (14, accepted, replaced, 0)
    assert (made["student"], made["teacher"], made["source"]) == ("small", "large", "source")
    assert type_of(made) == {"messages"}
    check_chat(made["messages"])
    ReverseLine.model_validate(made)


def test_the_mean_probability_is_that_of_what_stands() -> None:
    assert traced(pair(0.25))["prob"] == pytest.approx((0.25**3 * 0.9**11) ** (1 / 14))


TOP = (TokenLogprob(1, "a", log(0.9)), TokenLogprob(2, "b", log(0.06)))


@pytest.mark.parametrize(
    ("top", "id", "expected"),
    [
        (TOP, 2, 0.06),
        (TOP, 1, 0.9),
        (TOP, 3, None),  # it may have 0.04
        ((*TOP, TokenLogprob(4, "d", log(0.035))), 3, 0.005),
        ((TokenLogprob(1, "a", log(0.5)), TokenLogprob(2, "b", log(0.004))), 3, 0.004),
        ((), 3, None),
    ],
)
def test_what_is_not_shown_is_at_most_what_is_left_over_and_no_more_than_the_last_one(
    top: tuple[TokenLogprob, ...], id: int, expected: float | None
) -> None:
    found = chance(TokenLogprob(1, "a", log(0.9), top), id, 0.01)
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_token_whose_probability_cannot_be_known_is_refused_and_counted() -> None:
    def vague(request: Request) -> Reply:
        place = len(written(request))
        return Reply(text=STUDENT[place:], top={STUDENT[place : place + 1]: log(0.5)} if place < 14 else {})

    engines = {"small": Scripted(vague), "large": Scripted(teacher)}
    made = traced(Pipeline(engines, "small", db=":memory:"))
    assert made["messages"][-1]["content"] == STUDENT
    assert (made["unread"], made["replaced"]) == (3, 0)


def test_a_trace_is_a_run_of_the_journal_and_is_written_once(tmp_path: Path) -> None:
    first = traced(pair(db=tmp_path / "journal.db"))
    again = pair(db=tmp_path / "journal.db")
    assert traced(again) == first
    assert not any(engine.requests for engine in again.engines.values())  # type: ignore[attr-defined]
    with again:
        stored = again.journal.run(first["run"])
        assert stored.run.batch == REVERSED and stored.outcome is not None
        assert {intent.purpose for intent, _ in stored.calls} == {"propose", "accept"}
        assert [event.kind for event in stored.events] == [REVERSED]


def test_a_trace_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = traced(pair(0.25))
    with pair(0.25, tmp_path / "journal.db") as dying:
        source(dying)
        number = iter(range(6))

        def dies(request: Request) -> Any:
            return student(0.25)(request) if next(number, None) is not None else EngineRejected("gone", engine="small")

        dying.engines["small"]._answer = dies  # type: ignore[attr-defined]
        with pytest.raises(EngineRejected):
            traced(dying)
    after = pair(0.25, tmp_path / "journal.db")
    made = traced(after)
    assert made["messages"] == whole["messages"] and made["prob"] == whole["prob"]
    with after:
        done = [call for call in after.journal.run(made["run"]).calls if call.result and call.result.status == "done"]
        places = [(intent.purpose, intent.attempt) for intent, _ in done]
    assert len(places) == len(set(places))  # nothing was asked twice


def test_what_did_not_end_by_itself_or_is_wrong_is_left_out() -> None:
    with pytest.raises(LeftOut, match="status budget"):
        traced(pair(), Reverse(length=5))
    wrong = replace(TASK, answer="41")
    with pair() as pipeline:
        pipeline.run(wrong, run_id="source")
        with pytest.raises(LeftOut, match="they were wrong"):
            asyncio.run(line_of(pipeline, wrong))


async def line_of(pipeline: Pipeline, task: Task) -> dict[str, Any]:
    made = Traces(pipeline, Reverse())
    await made.write(task)
    return made.line(Chosen(pipeline.journal.run("source"), None, task, "train"))


def test_a_task_is_traced_once_and_not_where_it_had_tools() -> None:
    def double(number: int) -> str:
        """Double a number."""
        return str(2 * number)

    async def all_of(pipeline: Pipeline, sources: list[Chosen], left: Counter[str]) -> list[Chosen]:
        return await Traces(pipeline, Reverse()).write_all(sources, 1, left)

    with pair() as pipeline:
        tooled = pipeline.but(router="small", tools=(double,))
        with_tools = Chosen(pipeline.journal.run(tooled.run(TASK).run_id), None, TASK, "train")
        left: Counter[str] = Counter()
        found = asyncio.run(all_of(pipeline, [with_tools, source(pipeline), source(pipeline)], left))
        assert [each.stored.run.id for each in found] == ["source"]
    assert left == {"an earlier run has the same task": 1, "they had tools, and a trace is written without any": 1}


def test_engines_that_cannot_are_refused_before_anything_is_written() -> None:
    for made, says in (
        (pair(family="other"), "different tokenizers"),
        (pair(logprobs=0), "shows no probabilities"),
    ):
        with pytest.raises(MissingCapability, match=says):
            traced(made)
    with pytest.raises(UserError, match="two engines"):
        Traces(Pipeline({"small": Scripted([])}, "small", db=":memory:"), Reverse())


@pytest.mark.parametrize(
    "options", [{"threshold": 0.0}, {"threshold": 1.1}, {"threshold": float("nan")}, {"length": 0}]
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^reverse: "):
        Reverse(**options)


@pytest.mark.embedded
def test_the_pocket_pair_traces_and_a_hard_threshold_gives_the_student_the_word() -> None:
    task = random_calculation("mid").draw("train", 0, 1)[0]

    async def both(pipeline: Pipeline) -> list[StoredRun]:
        made = [Traces(pipeline, Reverse(threshold=threshold)) for threshold in (0.01, 1.0)]
        for each in made:
            await each.check()
            await each.write(task)
        return [pipeline.journal.run(each.run_id(task)) for each in made]

    engines = orc.engines.pocket_pair(temperature=0.0)
    with Pipeline(engines, "small", db=":memory:", stop_on_answer=False) as pipeline:
        soft, hard = asyncio.run(both(pipeline))
        assert hard.kept()[0].text == pipeline.run(task).text  # nothing is ever certain
    for stored in (soft, hard):
        assert stored.outcome is not None and stored.outcome.status == Status.COMPLETED
