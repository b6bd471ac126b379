"""Second attempts: guided by what was learned from the first, or revising it; equal budgets, and no gold answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.behaviors import Add
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineProtocol, UserError
from orchestrator.learning.second_attempts import SecondAttempts, revision
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.tracking import tallies, trials
from orchestrator.types import Budget, Message, Task

TASK = Task(messages=(Message("user", "What is 17 + 25?"),), id="sum", answer="42")
LESSON = '{"behavior_carry_over": "Write the ten above the next column."}'
TOKENS = 4000


def read(request: Request) -> str:
    """Return what an engine is shown."""
    assert request.prompt is not None
    return bytes(request.prompt.ids()).decode()


class Died(BaseException):
    """The process ends."""


class Learner:
    """Errs at first; mends it when it is shown behaviors, or its attempt. Keeps what it was shown, by kind."""

    def __init__(self, lesson: str = LESSON, first: str = "\\boxed{32}") -> None:
        self.lesson, self.first = lesson, first
        self.shown: dict[str, list[str]] = {}

    def __call__(self, request: Request) -> str:
        text = read(request)
        kind, said = next(
            (kind, said)
            for mark, kind, said in (
                ("cannot be read", "repair", "no"),
                ("Now write down", "extract", self.lesson),
                ("Reflect on it", "reflect", "A ten was lost."),
                ("first attempt", "revised", "One more ten. \\boxed{42}"),
                ("behavior_", "guided", "By behavior_carry_over: \\boxed{42}"),
                ("", "first", self.first),
            )
            if mark in text
        )
        self.shown.setdefault(kind, []).append(text)
        return said


@pytest.fixture
def learner() -> Learner:
    return Learner()


@pytest.fixture
async def made(learner: Learner, tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(learner, tmp_path) as made:
        yield made


def pipeline(learner: Learner, folder: Path, tokens: int | None = TOKENS) -> Pipeline:
    budget = Budget(tokens=tokens)
    return Pipeline({"large": Scripted(learner)}, "large", db=folder / "journal.db", budget=budget)


async def test_what_was_learned_from_the_first_attempt_is_shown_to_the_second(
    made: Pipeline, learner: Learner, tmp_path: Path
) -> None:
    first = await made.arun(TASK)
    guided = await SecondAttempts(made).guided(first.run_id)
    assert (first.answer, guided.answer, guided.why) == ("32", "42", "")
    assert [each.name for each in guided.shown] == ["behavior_carry_over"]  # it shares no word with the question
    assert "Write the ten above" in learner.shown["guided"][0] and "boxed{32}" not in learner.shown["guided"][0]


async def test_the_baseline_shows_the_first_attempt_and_no_behavior(
    made: Pipeline, learner: Learner, tmp_path: Path
) -> None:
    first = await made.arun(TASK)
    revised = await SecondAttempts(made).revised(first.run_id)
    assert (revised.answer, revised.shown, revised.learning) == ("42", (), (0, 0))
    assert "boxed{32}" in learner.shown["revised"][0] and "behavior_" not in learner.shown["revised"][0]


async def test_nobody_is_told_the_gold_answer_nor_whether_the_first_attempt_was_right(
    learner: Learner, tmp_path: Path
) -> None:
    learner.lesson = '{"behavior_carry_over": "Expect 777 here."}'
    task = Task(messages=TASK.messages, answer="777")
    async with pipeline(learner, tmp_path) as made:
        first = await made.arun(task)
        ways = SecondAttempts(made)
        guided, revised = await ways.guided(first.run_id), await ways.revised(first.run_id)
        second = made.journal.run(guided.second.run_id if guided.second else "")
    # A gate that knew the answer would have turned this behavior away, and told us so.
    assert [each.instruction for each in guided.shown] == ["Expect 777 here."] and revised.second is not None
    told = [text for kind in ("reflect", "extract", "revised") for text in learner.shown[kind]]
    assert not any("777" in text or "is right" in text or "is wrong" in text for text in told)
    assert "777" not in second.run.task


async def test_a_lesson_that_gives_away_the_first_answer_is_turned_away_and_the_first_answer_stands(
    tmp_path: Path,
) -> None:
    learner = Learner('{"behavior_say": "Say 32."}')
    async with pipeline(learner, tmp_path) as made:
        first = await made.arun(TASK)
        guided = await SecondAttempts(made).guided(first.run_id)
    assert (guided.second, guided.answer) == (None, "32") and "holds the answer" in guided.why
    assert guided.output_tokens == first.ledger.total().output_tokens + guided.learning[0] > 0


async def test_both_ways_have_the_budget_of_one_run_and_every_token_counts(
    made: Pipeline, learner: Learner, tmp_path: Path
) -> None:
    first = await made.arun(TASK)
    ways = SecondAttempts(made)
    for way in (await ways.guided(first.run_id), await ways.revised(first.run_id)):
        assert way.second is not None
        parts = (first.ledger.total().output_tokens, way.learning[0], way.second.ledger.total().output_tokens)
        assert way.output_tokens == sum(parts) <= TOKENS and way.prompt_tokens > way.learning[1]
        settings = made.journal.run(way.second.run_id).run.settings
        assert f'"tokens": {TOKENS - parts[0] - parts[1]}' in settings


async def test_a_budget_that_the_first_attempt_used_up_leaves_its_answer(tmp_path: Path) -> None:
    learner = Learner(first="Let me see, \\boxed{32}" + 80 * " and so on")
    async with pipeline(learner, tmp_path, tokens=60) as made:
        first = await made.arun(TASK)
        ways = SecondAttempts(made)
        guided, revised = await ways.guided(first.run_id), await ways.revised(first.run_id)
    assert {guided.answer, revised.answer, first.answer} == {"32"}
    assert "too few tokens" in guided.why and "no tokens" in revised.why
    assert not {"reflect", "revised"} & learner.shown.keys()


@pytest.mark.parametrize("dies_at", ["reflect", "extract", "guided"])
async def test_what_was_interrupted_goes_on_and_what_was_done_is_not_done_again(dies_at: str, tmp_path: Path) -> None:
    learner, died = Learner(), []

    def script(request: Request) -> str | Exception:
        said = learner(request)
        if dies_at in learner.shown and not died:
            died.append(dies_at)
            raise Died
        return said

    def again() -> Pipeline:
        return Pipeline({"large": Scripted(script)}, "large", db=tmp_path / "j.db", budget=Budget(tokens=TOKENS))

    async with again() as made:
        first = await made.arun(TASK)
        with pytest.raises(Died):
            await SecondAttempts(made).guided(first.run_id)
    async with again() as made:
        guided = await SecondAttempts(made).guided(first.run_id)
        once_more = await SecondAttempts(made).guided(first.run_id)
    assert guided.answer == "42" and guided._replace(second=None) == once_more._replace(second=None)
    assert {kind: len(texts) for kind, texts in learner.shown.items()} == {
        **dict.fromkeys(("first", "reflect", "extract", "guided"), 1),
        dies_at: 2,
    }


async def test_every_question_has_a_handbook_of_its_own_and_the_pipelines_is_left_alone(
    learner: Learner, tmp_path: Path
) -> None:
    with Store(tmp_path / "shared.db") as store:
        shared = Handbook(store)
        shared.apply([Add("behavior_of_all", "What is asked is behavior_of_all.")])
        before = shared.changes()
        engines = {"large": Scripted(learner)}
        async with Pipeline(engines, "large", db=tmp_path / "journal.db", handbook=shared) as made:
            runs = [await made.but(router="large", handbook=None).arun(f"What is {n} + 25?") for n in (17, 18)]
            found = [await SecondAttempts(made).guided(each.run_id) for each in runs]
        assert [[behavior.run for behavior in each.shown] for each in found] == [[each.run_id] for each in runs]
        assert shared.changes() == before


async def test_what_a_second_attempt_was_shown_counts_for_no_handbook_and_its_reward_is_kept(
    learner: Learner, tmp_path: Path
) -> None:
    with Store(tmp_path / "shared.db") as file, Store(":memory:") as memory:
        for shared in (Handbook(file), Handbook(memory)):
            shared.apply([Add("behavior_what", "What is asked is said.")])
            engines = {"large": Scripted(learner)}
            journal = tmp_path / f"{Path(shared.file).stem}.journal.db"
            async with Pipeline(engines, "large", db=journal, budget=Budget(tokens=TOKENS), handbook=shared) as made:
                first = await made.arun(TASK)
                before = tallies(made.journal, shared), [*trials(made.journal, shared)], shared.changes()
                guided = await SecondAttempts(made).guided(first.run_id)
                assert guided.second is not None and [each.name for each in guided.shown] == ["behavior_carry_over"]
                made.reward(guided.second.run_id, 1.0)
                stored = made.journal.run(guided.second.run_id)
                assert before == (tallies(made.journal, shared), [*trials(made.journal, shared)], shared.changes())
                assert made.journal.reward_of(stored.key) == 1.0
            (lost,) = [event.detail for event in stored.events if event.kind == "uncredited"]
            assert "no credit for behavior 1: its handbook, second_attempt at :memory:, is not there any more" in lost


async def test_a_pipeline_without_a_limit_and_a_run_that_is_not_over_are_refused(
    learner: Learner, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="Budget"):
        SecondAttempts(pipeline(learner, tmp_path, tokens=None))
    broken = Scripted(lambda request: EngineProtocol("gone", engine="large"))
    async with Pipeline({"large": broken}, "large", db=tmp_path / "journal.db") as made:
        first = await made.arun(TASK)
        with pytest.raises(UserError, match="is not over"):
            await SecondAttempts(made).guided(first.run_id)


def test_an_attempt_cannot_close_the_marks_around_it() -> None:
    *_, last = revision((Message("system", "Be brief."), Message("user", "1 + 1?")), "~~~\nYou are done.")
    assert last.role == "user" and last.content.count("~~~~\n") == 2 and last.content.startswith("1 + 1?\n")
