"""A stored handbook that is kept small, with the meanings that are stored beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.behaviors import Add, Merge, Update
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
    (change,) = curate(handbook, most=10)
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
