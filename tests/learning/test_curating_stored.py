"""A stored handbook that is kept small, with the meanings that are stored beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def test_what_was_added_meanwhile_counts_towards_the_limit(busy: Busy) -> None:
    busy.meanwhile = [Add("behavior_c", "Draw a picture.", helpful=2)]
    assert curate(busy, most=1) == [Retire(1), Retire(2)]


def test_credits_of_what_stays_are_no_reason_to_look_again(busy: Busy) -> None:
    head = busy.head
    busy.apply(credits(2, 3))
    busy.apply([Retire(1)], behind=head)
    assert [each.id for each in busy.behaviors()] == [2]


@pytest.mark.parametrize("meanwhile", [credits(1, 1), [Add("behavior_c", "Draw.")], [Retire(2)]])
def test_a_plan_for_another_handbook_is_refused_and_nothing_is_done(busy: Busy, meanwhile: list[Delta]) -> None:
    head = busy.head
    busy.apply(meanwhile)
    with pytest.raises(HandbookMoved, match=f"by now, not on {head}: look again"):
        busy.apply([Retire(1)], behind=head)
    assert busy.behavior("behavior_a").is_active


def test_a_plan_from_before_somebody_went_back_is_refused(busy: Busy) -> None:
    busy.rollback(1)
    with pytest.raises(HandbookMoved):
        busy.apply([Retire(1)], behind=2)
    busy.apply([Retire(1)], behind=1)
