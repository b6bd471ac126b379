"""A handbook that is kept small."""

from __future__ import annotations

from itertools import combinations
from math import cos, sin, sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import array, float32
from numpy.linalg import norm

from orchestrator.behaviors import Behavior, Merge, Retire, changed
from orchestrator.handbook.curating import curated
from orchestrator.handbook.likeness import NEAR, alike, words_in


def behavior(id: int, instruction: str = "", **more: Any) -> Behavior:
    return Behavior(id=id, name=f"behavior_{id}", instruction=instruction or f"Do thing number {id * 7}.", **more)


def unit(*numbers: float) -> Any:
    vector = array(numbers, dtype=float32)
    return vector / norm(vector)


def test_what_harms_goes_what_is_alike_is_merged_and_what_is_over_the_limit_goes_too() -> None:
    some = [
        behavior(1, "Check every digit of the sum again."),
        behavior(2, harmful=9),
        behavior(3, "check every digit of the SUM, again!", helpful=4),
        behavior(4, helpful=1),
        behavior(5),
        behavior(6, harmful=1),
    ]
    assert curated(some, most=10) == [Retire(2), Merge(3, (1,))]
    assert curated(some, most=2) == [Retire(2), Merge(3, (1,)), Retire(6), Retire(5)]
    assert curated(some[:1], most=1) == [] == curated([], most=1)


def test_what_says_the_opposite_is_not_the_same() -> None:
    some = [behavior(1, "Round early."), behavior(2, "Round early.", polarity="do_not")]
    assert curated(some, most=10) == []


def test_what_means_the_same_is_merged_whatever_its_words_but_not_with_its_opposite() -> None:
    some = [behavior(1), behavior(2, helpful=1), behavior(3, polarity="do_not"), behavior(4), behavior(5)]
    vectors = {1: unit(1, 0), 2: unit(10, 1), 3: unit(1, 0), 4: unit(0, 1)}
    assert curated(some, most=10, vectors=vectors) == [Merge(2, (1,))]
    assert curated(some, most=10) == []


@pytest.mark.parametrize(("likeness", "merged"), [(0.9001, True), (0.8999, False)])
def test_the_limit_of_meaning_is_that_of_the_gate(likeness: float, merged: bool) -> None:
    vectors = {1: unit(1, 0), 2: unit(likeness, sqrt(1 - likeness**2))}
    assert bool(curated([behavior(1), behavior(2)], most=10, vectors=vectors)) == merged


def test_groups_are_found_across_many_vectors() -> None:
    some = [behavior(id) for id in range(1, 201)]
    vectors = {each.id: unit(*(each.id % 100 == place for place in range(100))) for each in some}
    assert curated(some, most=200, vectors=vectors) == [Merge(id, (id + 100,)) for id in range(1, 101)]


def left_of(some: list[Behavior], most: int) -> list[int]:
    gone = {each.id for each in curated(some, most=most) if isinstance(each, Retire)}
    return [each.id for each in some if each.id not in gone]


def test_one_place_in_ten_is_for_the_newest_that_were_never_used() -> None:
    some = [behavior(id, helpful=1) for id in range(1, 21)] + [behavior(id) for id in range(21, 24)]
    assert left_of(some, 9) == [*range(12, 21)]
    assert left_of(some, 10) == [*range(12, 21), 23]
    assert left_of(some, 20) == [*range(3, 21), 22, 23]
    used = [*some, behavior(24, neutral=1), behavior(25, harmful=1)]
    assert left_of(used, 20) == [*range(3, 21), 22, 23]


def test_what_a_group_was_worth_counts_for_what_stays_of_it() -> None:
    some = [behavior(1, "Look left.", helpful=2), behavior(2, "look LEFT", helpful=2), behavior(3, helpful=3)]
    assert curated(some, most=1) == [Merge(1, (2,)), Retire(3)]


def test_of_those_worth_the_same_the_older_goes() -> None:
    some = [behavior(1), behavior(2, neutral=3), behavior(3, helpful=2, harmful=2), behavior(4)]
    assert left_of(some, 2) == [3, 4]


TEXTS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8).map(" ".join)
DRAWN = st.lists(st.tuples(TEXTS, st.integers(0, 5), st.integers(0, 9), st.integers(0, 9)), max_size=12)


@settings(max_examples=60)
@given(DRAWN, st.integers(1, 12))
def test_curation_touches_each_behavior_once_and_conserves_counters_whatever_is_alike(
    drawn: list[tuple[str, int, int, int]], most: int
) -> None:
    some = [
        behavior(id, text, helpful=good, harmful=bad, polarity="do" if turn % 2 else "do_not")
        for id, (text, turn, good, bad) in enumerate(drawn, 1)
    ]
    vectors = {id: unit(cos(turn / 4), sin(turn / 4)) for id, (_, turn, _, _) in enumerate(drawn, 1) if turn}
    rows, touched = {each.id: each for each in some}, list[int]()
    for delta in curated(some, most=most, vectors=vectors):
        touched += delta.ids if isinstance(delta, Merge) else [delta.id]
        rows |= {row.id: row for row in changed(delta, rows, {}, id=0, version=0)}
    assert len(touched) == len({*touched})
    for name in ("helpful", "harmful", "neutral"):
        assert sum(getattr(each, name) for each in some) == sum(getattr(each, name) for each in rows.values())
    left = [each for each in rows.values() if each.is_active]
    assert len(left) <= most


@settings(max_examples=200)
@given(st.lists(TEXTS, max_size=12), st.integers(1, 12))
def test_nothing_is_touched_twice_and_no_two_that_are_left_are_near(texts: list[str], most: int) -> None:
    some = [behavior(id, text) for id, text in enumerate(texts, 1)]
    touched: list[int] = []
    for delta in curated(some, most=most):
        touched += [delta.into, *delta.ids] if isinstance(delta, Merge) else []
    assert len(touched) == len({*touched})
    gone = {id for delta in curated(some, most=most) for id in (delta.ids if isinstance(delta, Merge) else [delta.id])}
    left = [each for each in some if each.id not in gone]
    assert len(left) <= most
    firsts = [each for each in left if each.id not in touched]
    words = [{*words_in(each.instruction)} for each in firsts]
    assert all(alike(one, other) < NEAR for one, other in combinations(words, 2))
