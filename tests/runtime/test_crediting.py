"""Counters of behaviors move for what was used, once a run, and by what is known of its outcome: on every way there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from json import loads
from pathlib import Path
from typing import Any

import pytest

from orchestrator.behaviors import Add, Merge, Retire, Update
from orchestrator.decisions import Decision, keep, rewrite, rollback
from orchestrator.doors import Ask, Needs
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineUnavailable, StoreError, UserError
from orchestrator.handbook.recall import Recall
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.run import Kept
from orchestrator.types import Budget, History, Message, Status, Step, Task

SUM = Task(messages=(Message("user", "Add the digits of 17 and 25."),), answer="42")
OPEN = Task(messages=SUM.messages)
"""The same without a gold answer."""
RIGHT = "By behavior_add_digits: \\boxed{42}"


@pytest.fixture
def handbook(tmp_path: Path) -> Iterator[Handbook]:
    with Store(tmp_path / "handbook.db") as store:
        made = Handbook(store)
        made.apply(
            [Add("behavior_add_digits", "Add the digits from the right."), Add("behavior_carry", "Carry digits.")]
        )
        yield made


def made(says: Any, path: Path, handbook: Handbook | None, **options: Any) -> Pipeline:
    engines = {"small": Scripted(says), "large": Scripted(options.pop("large", ()))}
    options = {"router": "small", "retries": RetryPolicy(1), **options}
    return Pipeline(engines, db=path / "journal.db", handbook=handbook, **options)


def counts(handbook: Handbook, id: int = 1) -> tuple[int, int, int]:
    row = handbook.behavior(id)
    return row.helpful, row.harmful, row.neutral


def told(pipeline: Pipeline, run: str, kind: str) -> list[Any]:
    return [loads(event.detail) for event in pipeline.journal.run(run).events if event.kind == kind]


GONE = EngineUnavailable("gone", engine="small")


@pytest.mark.parametrize(
    ("says", "large", "options", "status", "credit"),
    [
        ([RIGHT], [], {}, Status.COMPLETED, (1, 0, 0)),
        (["behavior_add_digits"], [], {}, Status.NO_ANSWER, (0, 1, 0)),
        (["behavior_add_digits\n\n", "On.\n\n"], [], {"budget": Budget(steps=2)}, Status.BUDGET, (0, 1, 0)),
        ([GONE], [RIGHT], {}, Status.DEGRADED, (1, 0, 0)),
        (["behavior_add_digits\n\n", GONE], [GONE], {}, Status.FAILED, (0, 0, 0)),
        ([RIGHT], [], {"reward": lambda task, answer: 0.5}, Status.COMPLETED, (0, 0, 1)),
        ([RIGHT], [], {"reward": lambda task, answer: None}, Status.COMPLETED, (0, 0, 0)),
        ([RIGHT], [], {"reward": lambda task, answer: 1 / 0}, Status.COMPLETED, (0, 0, 0)),
    ],
)
def test_how_a_run_ends_says_whose_credit_it_is(
    handbook: Handbook,
    tmp_path: Path,
    says: list[Any],
    large: list[Any],
    options: dict[str, Any],
    status: Status,
    credit: tuple[int, int, int],
) -> None:
    with made(says, tmp_path, handbook, large=large, **options) as pipeline:
        assert pipeline.run(SUM).status is status
    assert (counts(handbook), counts(handbook, 2)) == (credit, (0, 0, 0))


def test_a_run_that_failed_credits_when_it_was_tried_again(handbook: Handbook, tmp_path: Path) -> None:
    with made(["behavior_add_digits\n\n", GONE, "\\boxed{42}"], tmp_path, handbook, failover=False) as pipeline:
        assert pipeline.run(SUM, run_id="it").status is Status.FAILED
        assert pipeline.run(SUM, run_id="it").status is Status.COMPLETED
    assert counts(handbook) == (1, 0, 0)


def test_a_reward_behind_the_credit_of_a_gold_answer_counts_no_second_time(handbook: Handbook, tmp_path: Path) -> None:
    with made([RIGHT], tmp_path, handbook) as pipeline:
        run = pipeline.run(SUM).run_id
        pipeline.reward(run, 0.0)
        with pytest.raises(UserError, match="has its reward"):
            pipeline.reward(run, 1.0)
    assert counts(handbook) == (1, 0, 0)


def test_a_process_that_dies_between_the_credit_and_the_end_of_the_run_credits_once(
    handbook: Handbook, tmp_path: Path
) -> None:
    with made([RIGHT], tmp_path, handbook) as pipeline:
        pipeline.run(SUM, run_id="it")
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection, connection:
        connection.execute("DELETE FROM outcomes")  # what the disk holds if it dies there
    with made([], tmp_path, handbook) as pipeline:
        assert pipeline.run(SUM, run_id="it").answer == "42"
    assert counts(handbook) == (1, 0, 0)


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize(
    ("change", "credited", "is_lost"),
    [
        (lambda book: book.apply([Merge(2, (1,))]), 2, False),
        (lambda book: book.apply([Retire(1)]), 1, False),
        (lambda book: book.apply([Update(1, name="behavior_add_all")]), 1, False),
        (lambda book: book.rollback(1) and book.rollback(2), 1, False),
        (lambda book: book.rollback(0), None, True),
    ],
)
def test_what_became_of_a_behavior_in_between_does_not_stop_the_run_or_its_reward(
    handbook: Handbook,
    tmp_path: Path,
    change: Callable[[Handbook], Any],
    credited: int | None,
    is_late: bool,
    is_lost: bool,
) -> None:
    def says(request: Any) -> str:
        if not is_late:
            change(handbook)
        return RIGHT

    with made(says, tmp_path, handbook) as pipeline:
        result = pipeline.run(OPEN if is_late else SUM)
        if is_late:
            change(handbook)
            pipeline.reward(result.run_id, 1.0)
        lost = told(pipeline, result.run_id, "uncredited")
    assert result.status is Status.COMPLETED
    assert {each.id: each.helpful for each in handbook.behaviors(retired=True) if each.uses} == (
        {} if credited is None else {credited: 1}
    )
    wanted = [{"reason": "no credit for behavior 1: not in the handbook any more"}] if is_lost else []
    assert lost == wanted


class Died(Exception):
    """What ends a session of a run half-way."""


def stop(event: Any) -> None:
    if isinstance(event, Kept):
        raise Died


@pytest.mark.parametrize("beside", ["another", "none"])
def test_credit_goes_to_the_handbook_that_was_recalled_from_whatever_the_run_is_resumed_beside(
    handbook: Handbook, tmp_path: Path, beside: str
) -> None:
    with made(["Think.\n\n"], tmp_path, handbook) as pipeline, pytest.raises(Died):
        pipeline.run(SUM, run_id="it", listener=stop)
    with Store(tmp_path / "other.db") as store:
        other = Handbook(store)
        other.apply([Add("behavior_else", "Do else.")])
        with made([RIGHT], tmp_path, other) as pipeline:
            if beside == "none":
                child = pipeline.but(router="small", handbook=None)
                state = child.graph.invoke({"run": "it", "step": 0})
                assert child.journal.run(state["run"]).outcome is not None
            else:
                assert pipeline.run(SUM, run_id="it").answer == "42"
        assert other.behavior(1).uses == 0
    assert counts(handbook) == (1, 0, 0)


def test_sets_of_two_handbooks_credit_each_its_own(handbook: Handbook, tmp_path: Path) -> None:
    each = Recall(every="step")
    cites = "By behavior_add_digits and behavior_else: \\boxed{42}"
    with made(["Think.\n\n"], tmp_path, handbook, recall=each) as pipeline, pytest.raises(Died):
        pipeline.run(SUM, run_id="it", listener=stop)
    with Store(tmp_path / "other.db") as store:
        other = Handbook(store)
        other.apply([Add("behavior_else", "Add digits of else."), Retire(1), Add("behavior_else", "Add digits.")])
        with made([cites], tmp_path, other, recall=each) as pipeline:
            pipeline.run(SUM, run_id="it")
        assert (counts(handbook), counts(other, 1), counts(other, 2)) == ((1, 0, 0), (0, 0, 0), (1, 0, 0))


def test_a_handbook_in_memory_gets_its_credit_late(tmp_path: Path) -> None:
    with Store(":memory:") as store:
        book = Handbook(store)
        book.apply([Add("behavior_add_digits", "Add the digits from the right.")])
        with made([RIGHT], tmp_path, book) as pipeline:
            pipeline.reward(pipeline.run(OPEN).run_id, 1.0)
        assert counts(book) == (1, 0, 0)


def test_where_the_handbook_is_gone_a_reward_is_kept_and_who_gets_no_credit_is_said(
    handbook: Handbook, tmp_path: Path
) -> None:
    """Of two sets that a run was shown, the first handbook's is gone; what it cites of the other gets its credit."""
    each = Recall(every="step")
    with Store(tmp_path / "old.db") as store:
        old = Handbook(store)
        old.apply(
            [Retire(old.apply([Add("behavior_a", "A.")])[0].after[0].id), Add("behavior_old", "Add digits, old.")]
        )
        with made(["Think.\n\n"], tmp_path, old, recall=each) as pipeline, pytest.raises(Died):
            pipeline.run(OPEN, run_id="late", listener=stop)
    cites = "By behavior_old and behavior_add_digits: \\boxed{42}"
    with made([cites], tmp_path, handbook, recall=each) as pipeline:
        pipeline.run(OPEN, run_id="late")
    for file in tmp_path.glob("old.db*"):
        file.unlink()
    with made([], tmp_path, None) as pipeline:
        pipeline.reward("late", 1.0)
        assert pipeline.journal.reward_of(pipeline.journal.run("late").key) == 1.0
        (lost,) = told(pipeline, "late", "uncredited")
    gone = f"no credit for behavior 2: its handbook, default at {tmp_path / 'old.db'}, is not there any more"
    assert lost == {"reason": gone} and counts(handbook) == (1, 0, 0)
    assert not (tmp_path / "old.db").exists()


class Locked(Handbook):
    """A handbook that cannot be written."""

    def apply(self, deltas: Any, *, reason: str = "") -> Any:
        raise StoreError("locked")


def test_credit_goes_by_the_reward_that_is_stored_and_saying_it_again_makes_up_for_a_death_before_the_credit(
    handbook: Handbook, tmp_path: Path
) -> None:
    with made([RIGHT], tmp_path, handbook) as pipeline:
        run = pipeline.run(OPEN).run_id
    with Store(tmp_path / "handbook.db") as store, made([], tmp_path, Locked(store)) as pipeline:
        with pytest.raises(StoreError, match="locked"):
            pipeline.reward(run, 1.0)
        assert pipeline.journal.reward_of(pipeline.journal.run(run).key) == 1.0
    assert counts(handbook) == (0, 0, 0)
    with made([], tmp_path, handbook) as pipeline:
        for value in (0.0, 1.0):  # whatever is said, the stored one counts, once
            with pytest.raises(UserError, match="has its reward, 1"):
                pipeline.reward(run, value)
            assert counts(handbook) == (1, 0, 0)


def test_a_run_that_failed_and_has_a_reward_credits_by_that_when_it_is_tried_again(
    handbook: Handbook, tmp_path: Path
) -> None:
    says = ["Think.\n\n", GONE, RIGHT]
    with made(says, tmp_path, handbook, failover=False) as pipeline:
        pipeline.run(SUM, run_id="it")
        pipeline.reward("it", 0.0)
        assert pipeline.run(SUM, run_id="it").status is Status.COMPLETED
    assert counts(handbook) == (0, 1, 0)


class Raced(Handbook):
    """A handbook behind whose first credit another process rewards the run otherwise."""

    other: Callable[[], None] | None = None

    def apply(self, deltas: Any, *, reason: str = "") -> Any:
        made = super().apply(deltas, reason=reason)
        if (other := self.other) is not None:
            self.other = None
            other()
        return made


def test_of_two_rewards_at_once_the_one_that_is_stored_is_credited(handbook: Handbook, tmp_path: Path) -> None:
    with Store(tmp_path / "handbook.db") as store:
        raced = Raced(store)
        with made([RIGHT], tmp_path, raced) as ours, made([], tmp_path, handbook) as theirs:
            run = ours.run(OPEN).run_id

            def other() -> None:
                with suppress(UserError):
                    theirs.reward(run, 1.0)

            raced.other = other
            with suppress(UserError):
                ours.reward(run, 0.0)
            given = ours.journal.reward_of(ours.journal.run(run).key)
    assert counts(handbook) == {0.0: (0, 1, 0), 1.0: (1, 0, 0)}[given or 0.0] and raced.other is None


def test_a_fork_is_a_run_of_its_own_and_uses_what_the_text_it_goes_on_from_cites(
    handbook: Handbook, tmp_path: Path
) -> None:
    says = ["By behavior_add_digits.\n\n", "\\boxed{42}", "\\boxed{41}"]
    with made(says, tmp_path, handbook) as pipeline:
        parent = pipeline.run(SUM).run_id
        for _ in range(2):  # entered twice it is the same child
            child = pipeline.graph.invoke({"run": parent, "step": 1})["run"]
        assert told(pipeline, child, "cited")[0]["cited"] == ["behavior_add_digits"]
    assert counts(handbook) == (1, 1, 0)


class Rejects:
    """Sends the first draft to the large engine, and takes the second step back once."""

    needs = Needs()

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        if "reject" in draft.text:
            return rewrite(history.large, reason="no")
        if "back" in draft.text:
            return rollback(1, reason="no")
        return keep(reason="yes")


def test_a_citation_in_text_that_does_not_stand_is_none(handbook: Handbook, tmp_path: Path) -> None:
    says = ["reject behavior_add_digits\n\n", "behavior_carry\n\n", "back behavior_add_digits\n\n", "\\boxed{42}"]
    with made(says, tmp_path, handbook, large=["Digits.\n\n"], router=Rejects()) as pipeline:
        run = pipeline.run(SUM).run_id
        (cited,) = told(pipeline, run, "cited")
    assert (cited["cited"], cited["unused"]) == ([], ["behavior_add_digits", "behavior_carry"])
    assert counts(handbook) == counts(handbook, 2) == (0, 0, 0)
