"""Collecting over scripts: every step written twice, both scored, all of it in the journal, and once only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from learned import row
from marked import STEPS, calls, is_marked, pipeline, tasks

from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import EngineProtocol, MissingCapability, SignalUnavailable, UserError
from orchestrator.learning.collecting import Collection
from orchestrator.learning.rows import Row, Target
from orchestrator.learning.summary import Counts, Summary, counting
from orchestrator.memory.base import StoredRun
from orchestrator.routers.collect import Collect
from orchestrator.runtime.checks import check_engines
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.tasks import fingerprint
from orchestrator.types import Budget, Overlap, Sampling, Task

POLICY = Collect(logprobs=2)


def collection(of: Pipeline, asked: list[Task], policy: Collect = POLICY, concurrency: int = 3) -> Collection:
    made = Collection(of, asked, policy)
    asyncio.run(made.run(concurrency))
    return made


def stored(of: Pipeline, made: Collection) -> list[StoredRun]:
    return [of.journal.run(run_id) for run_id in made.run_ids]


def sent(of: Pipeline) -> int:
    return sum(len(engine.requests) for engine in of.engines.values() if isinstance(engine, Scripted))


def test_a_row_is_a_draft_with_what_the_large_engine_writes_from_the_same_prefix() -> None:
    with pipeline() as made:
        rows = list(collection(made, tasks(8)).rows())
        assert len(rows) == 8 * (STEPS + 1)
        for row in rows:
            marked = row.index < STEPS and is_marked(row.question, row.index)
            assert ("guess" in row.draft) == marked
            assert "guess" not in row.targets[0].text
            assert (row.score, row.targets[0].score) == ((0.2, 0.9) if marked else (0.9, 0.9))
            assert row.pays == marked
            assert row.advantage == (pytest.approx(0.7) if marked else 0)
            assert (row.writer, len(row.targets), row.index) == ("small", 1, len(row.before))
            assert row.logprobs and row.logprobs[0].top
            assert row.task == fingerprint(Task(messages=row.messages))


def test_after_better_the_step_in_front_is_the_better_one_and_ties_go_to_the_draft() -> None:
    with pipeline() as made:
        for row in collection(made, tasks(8)).rows():
            for index, step in enumerate(row.before):
                assert step.writer == ("large" if is_marked(row.question, index) else "small")
                assert "guess" not in step.text


def test_after_mixed_both_engines_stand_in_front_and_mistakes_do() -> None:
    with pipeline() as made:
        rows = list(collection(made, tasks(30), Collect(logprobs=2, go_on="mixed")).rows())
        before = [step for row in rows for step in row.before]
        assert any("guess" in step.text for step in before)
        shares = {row.run: sum(step.writer == "large" for step in row.before) for row in rows if row.index == STEPS}
        assert {0, STEPS} < set(shares.values())  # runs of the small engine alone, of the large one alone, and between
        again = pipeline()
        assert [row.before for row in collection(again, tasks(30), Collect(logprobs=2, go_on="mixed")).rows()] == [
            row.before for row in rows
        ]
        again.close()


def test_a_text_equal_to_the_draft_is_not_scored_again() -> None:
    with pipeline() as made:
        for run in stored(made, collection(made, tasks(6))):
            question = made.journal.run(run.run.id).run.task
            marked = sum(step < STEPS and is_marked(_question(question), step) for step in range(STEPS + 1))
            assert len(run.signals) == STEPS + 1 + marked


def _question(task: str) -> str:
    from json import loads

    return str(loads(task)["messages"][0][1])


def test_several_samples_are_several_targets_and_their_mean_is_the_label() -> None:
    with pipeline() as made:
        rows = list(collection(made, tasks(3), Collect(logprobs=2, samples=4)).rows())
        assert {len(row.targets) for row in rows} == {4}
        assert all(row.advantage in (0, pytest.approx(0.7)) for row in rows)


def test_several_samples_of_an_engine_that_draws_nothing_are_refused() -> None:
    cold, warm = (EngineSpec(kind="llamacpp", sampling=Sampling(temperature=each)) for each in (0.0, 0.6))
    engines = ("small", "large")
    with pytest.raises(UserError, match=r"3 samples of what engine 'large' writes at temperature 0, .* take 1 sample"):
        check_engines(Collect(samples=3), engines, {"small": warm, "large": cold})
    check_engines(Collect(samples=3), engines, {"small": cold, "large": warm})  # the draft is one either way
    check_engines(Collect(samples=1), engines, {"small": cold, "large": cold})


def test_the_same_collection_again_calls_no_engine_and_gives_the_same_rows(tmp_path: Path) -> None:
    db = str(tmp_path / "journal.db")
    with pipeline(db=db) as made:
        rows = list(collection(made, tasks(4)).rows())
        number = sent(made)
    with pipeline(db=db) as made:
        assert list(collection(made, tasks(4)).rows()) == rows
        assert sent(made) == 0
        assert list(collection(made, tasks(6)).rows())[: len(rows)] == rows  # more tasks cost only their own calls
        assert sent(made) == number / 4 * 2


def test_what_was_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    db = str(tmp_path / "journal.db")

    async def cut_short(of: Pipeline) -> None:
        running = asyncio.ensure_future(Collection(of, tasks(4), POLICY).run(2))
        while sent(of) < 17:
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with pipeline(db=db) as made:
        asyncio.run(cut_short(made))
        before = sent(made)
    with pipeline(db=db) as made, pipeline() as whole:
        again, straight = collection(made, tasks(4)), collection(whole, tasks(4))
        assert [row.targets for row in again.rows()] == [row.targets for row in straight.rows()]
        assert before + sent(made) <= sent(whole) + 2 * 2  # at most the calls that were under way are made again


def test_another_setting_is_another_collection(tmp_path: Path) -> None:
    db = str(tmp_path / "journal.db")
    with pipeline(db=db) as made:
        one, other = collection(made, tasks(2)), collection(made, tasks(2), Collect(logprobs=2, samples=2))
        assert not set(one.run_ids) & set(other.run_ids)
        assert {len(row.targets) for row in one.rows()} == {1}


def test_a_task_that_is_there_twice_is_collected_once() -> None:
    with pipeline() as made:
        assert len(Collection(made, [*tasks(2), *tasks(2)], POLICY)) == 2


def test_what_cannot_be_scored_gives_no_row_and_ends_no_run() -> None:
    def check(messages: Any, kept: Any, draft: str) -> float:
        if "guess" in draft:
            raise SignalUnavailable("prm", "cannot tell")
        return 0.9

    from orchestrator.engines.scorers.verifier import Verifier

    with pipeline() as made:
        unsure = Collection(made, tasks(4), POLICY, {"prm": Verifier(check=check)})
        asyncio.run(unsure.run(2))
        rows = list(unsure.rows())
        assert rows and not any("guess" in row.draft for row in rows)
        assert len(rows) + unsure.unscored == 4 * (STEPS + 1) and unsure.unscored > 0
        reasons = {row.reason for run in stored(made, unsure) for row in run.decisions}
        assert "no score to compare: the draft goes on" in reasons


@pytest.mark.parametrize("samples", [1, 3])
def test_where_a_budget_cuts_a_run_off_every_draft_is_a_row_or_counted(samples: int) -> None:
    cut_off = 0
    for tokens in range(15, 300, 15):
        with pipeline(budget=Budget(tokens=tokens)) as made:
            found = collection(made, tasks(1), Collect(logprobs=2, samples=samples))
            rows = list(found.rows())
            drafts = [call for call in calls(stored(made, found)[0], "small") if call[1] == "draft"]
            assert len(rows) + found.unfinished == len(drafts)
            assert found.unscored == 0
            assert found.over_budget == (len(rows) < STEPS + 1)
            cut_off += found.unfinished
    assert cut_off > 2


def test_drafts_that_the_large_engine_fails_beside_are_counted() -> None:
    with pipeline() as made:
        broken = made.engines["large"]
        assert isinstance(broken, Scripted)
        broken._answer = lambda request: EngineProtocol("no", engine="large")
        found = collection(made, tasks(2))
        assert list(found.rows()) == []
        assert (found.unfinished, found.unscored, found.failed) == (2 * (STEPS + 1), 0, 0)


def test_what_was_drafted_ahead_and_dropped_is_in_no_row() -> None:
    with pipeline() as plain, pipeline(overlap=Overlap(ahead=2)) as ahead:
        one, other = collection(plain, tasks(8)), collection(ahead, tasks(8))
        assert any(event.kind == "dropped" for run in stored(ahead, other) for event in run.events)
        told = [[(row.task, row.draft, row.score, row.targets) for row in each.rows()] for each in (one, other)]
        assert told[0] == told[1]
        assert (other.unscored, other.unfinished) == (0, 0)


def test_a_run_that_failed_is_counted_and_tried_again(tmp_path: Path) -> None:
    db = str(tmp_path / "journal.db")
    with pipeline(db=db, failover=False) as made:
        broken = made.engines["small"]
        assert isinstance(broken, Scripted)
        answer, broken._answer = broken._answer, lambda request: EngineProtocol("no", engine="small")
        found = collection(made, tasks(2))
        assert (found.failed, list(found.rows())) == (2, [])
        broken._answer = answer
        found = collection(made, tasks(2))
        assert (found.failed, len(list(found.rows()))) == (0, 2 * (STEPS + 1))


def test_a_scorer_that_is_not_there_is_known_before_the_first_run() -> None:
    with pipeline() as made:
        with pytest.raises(MissingCapability, match="asks scorer 'nobody'; the pipeline has"):
            collection(made, tasks(1), Collect(scorer="nobody"))
        assert sent(made) == 0


def test_the_large_engine_is_asked_once_for_each_step() -> None:
    with pipeline() as made:
        for run in stored(made, collection(made, tasks(3))):
            assert calls(run, "large") == [(step, "alternative") for step in range(STEPS + 1)]


def test_no_task_is_nothing_to_collect() -> None:
    with pipeline() as made, pytest.raises(UserError, match="no task"):
        Collection(made, [], POLICY)


def summary(rows: Iterable[Row], scorer: str = "") -> Summary:
    counts = Counts(scorer)
    deque(counting(rows, [counts]), maxlen=0)
    return counts.summary()


def test_a_summary_says_what_an_oracle_would_send_and_what_that_would_waste() -> None:
    def rows() -> list[Row]:
        with pipeline() as made:
            return list(collection(made, tasks(20)).rows())

    found = rows()
    told = summary(iter(found))
    assert (told.steps, told.tasks) == (20 * (STEPS + 1), 20)
    assert told.better.value == told.wrong.value == sum(row.pays for row in found) / len(found)
    assert told.better.low < told.better.value < told.better.high
    assert told.both_wrong.value == 0
    nothing = summary(iter(()))
    assert nothing.steps == 0 and nothing.better.value != nothing.better.value


def test_a_summary_by_another_scorers_word_leaves_out_what_that_one_did_not_score() -> None:
    made = [
        row("a", score=0.9, also={"verifier": 0.0}, targets=(Target("x", 1, 0.9, {"verifier": 1.0}),)),
        row("b", score=0.9, also={"verifier": 0.0}, targets=(Target("x", 1, 0.9, {"verifier": 0.0}),)),
        row("c", score=0.9, also={}, targets=(Target("x", 1, 1.0, {}),)),
    ]
    ours, theirs = summary(made), summary(made, "verifier")
    assert (ours.steps, ours.better.value, ours.wrong.value) == (3, pytest.approx(1 / 3), 0)
    assert (theirs.steps, theirs.better.value, theirs.wrong.value, theirs.both_wrong.value) == (2, 0.5, 1, 0.5)
