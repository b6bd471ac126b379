"""A handbook that is kept small."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.behaviors import Behavior, Merge, Retire
from orchestrator.handbook.curating import curated
from orchestrator.handbook.likeness import NEAR, near


def behavior(id: int, instruction: str = "", **more: Any) -> Behavior:
    return Behavior(id=id, name=f"behavior_{id}", instruction=instruction or f"Do thing number {id * 7}.", **more)


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


TEXTS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8).map(" ".join)


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
    assert all(near(one.instruction, other.instruction) < NEAR for one, other in combinations(firsts, 2))
