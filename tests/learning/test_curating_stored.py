"""A stored handbook that is kept small, with the meanings that are stored beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from orchestrator.behaviors import Add, Credit, Delta, Merge, Retire, Update
from orchestrator.errors import HandbookMoved
from orchestrator.learning.curating import curate, planned
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store


@pytest.fixture
def handbook(tmp_path: Path) -> Iterator[Handbook]:
    with Store(tmp_path / "handbook.db") as store:
        made = Handbook(store)
        told = (("behavior_a", "Round late."), ("behavior_b", "Keep all digits."), ("behavior_c", "Look."))
        made.apply(Add(*each) for each in told)
        yield made


def test_what_means_the_same_where_most_have_vectors_is_merged(handbook: Handbook) -> None:
    one, two, six = handbook.behaviors()
    handbook.put_vectors("few", {two: [1.0, 0.0], six: [1.0, 0.0]})
    handbook.put_vectors("most", {one: [3.0, 0.1], two: [2.0, 0.0], six: [0.0, 1.0]})
    assert curate(handbook, most=10) == [Merge(1, (2,))]
    change = handbook.changes()[-1]
    assert (change.op, change.reason, [each.id for each in change.after]) == ("merge", "curated", [1, 2])
    assert curate(handbook, most=10) == []


def test_a_vector_of_other_words_than_it_has_now_says_nothing(handbook: Handbook) -> None:
    one, two, _ = handbook.behaviors()
    handbook.put_vectors("all", {one: [1.0, 0.0], two: [1.0, 0.0]})
    assert planned(handbook, most=10) == [Merge(1, (2,))]
    handbook.apply([Update(2, instruction="Draw a picture.")])
    assert planned(handbook, most=10) == [] and [*handbook.meanings()] == [1]


def test_without_vectors_words_are_what_there_is(handbook: Handbook) -> None:
    assert (handbook.meanings(), planned(handbook, most=10)) == ({}, [])


def credits(id: int, number: int) -> list[Delta]:
    return [Credit(id, f"run {id} {each}", "helpful") for each in range(number)]


class Busy(Handbook):
    """A handbook that others change while it is looked at, once."""

    meanwhile: Sequence[Delta] = ()

    def meanings(self) -> dict[int, Any]:
        found = super().meanings()
        meanwhile, self.meanwhile = self.meanwhile, ()
        self.apply(meanwhile)
        return found


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    with Store(tmp_path / "handbook.db") as store:
        made = Busy(store)
        made.apply([Add("behavior_a", "Round late.", harmful=9), Add("behavior_b", "Look.", helpful=1)])
        yield made


def test_what_helped_while_it_was_looked_at_is_not_retired_for_what_it_was_before(busy: Busy) -> None:
    busy.meanwhile = credits(1, 40)
    assert curate(busy, most=10) == [] and busy.behavior(1).helpful == 40


def test_it_ends_where_somebody_credits_what_is_to_go_each_time_and_the_rest_goes(busy: Busy) -> None:
    busy.meanwhile = credits(2, 1)
    assert curate(busy, most=1, min_uses=100) == [Retire(1)]


def test_what_is_merged_has_what_was_credited_meanwhile(busy: Busy) -> None:
    busy.apply([Add("behavior_c", "look!")])
    busy.meanwhile = credits(3, 2)
    assert curate(busy, most=10, min_uses=100) == [Merge(2, (3,))] and busy.behavior(2).helpful == 3


WORDS = [Update(2, instruction="Draw a picture.")]


@pytest.mark.parametrize(
    ("meanwhile", "done"),
    [
        (credits(2, 3), [Retire(1), Merge(2, (3,))]),
        ([Add("behavior_d", "Draw.")], [Retire(1), Merge(2, (3,))]),
        (credits(1, 1), [Merge(2, (3,))]),
        (WORDS, [Retire(1)]),
        ([Retire(3), Retire(1)], []),
    ],
)
def test_what_was_touched_meanwhile_is_left_alone(busy: Busy, meanwhile: list[Delta], done: list[Delta]) -> None:
    busy.apply([Add("behavior_c", "look!")])
    head = busy.head
    busy.apply(meanwhile)
    assert busy.tidy([Retire(1), Merge(2, (3,))], behind=head, reason="curated") == done


def test_a_plan_from_before_somebody_went_back_is_refused(busy: Busy) -> None:
    busy.rollback(1)
    with pytest.raises(HandbookMoved, match="stands on change 1 by now, not on 2: look again"):
        busy.tidy([Retire(1)], behind=2, reason="curated")
    assert busy.tidy([Retire(1)], behind=1, reason="curated") == [Retire(1)]


@pytest.mark.parametrize(
    ("meanwhile", "is_moved"),
    [(credits(2, 3), False), (credits(1, 1), True), ([Add("behavior_d", "Draw.")], True), (WORDS, True)],
)
def test_what_gates_have_seen_counts_but_for_credits(busy: Busy, meanwhile: list[Delta], is_moved: bool) -> None:
    head = busy.head
    busy.apply(meanwhile)
    with pytest.raises(HandbookMoved) if is_moved else nullcontext():
        busy.study("run", "large", [Retire(1)], [], reason="learned", behind=head)
    assert busy.has_studied("run", "large") != is_moved
