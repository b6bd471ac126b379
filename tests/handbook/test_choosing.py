"""Which behaviors a prompt gets, what a text cites, and which are worth keeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.behaviors import Behavior
from orchestrator.errors import UserError
from orchestrator.handbook.bullets import bullets_in, written
from orchestrator.handbook.choosing import chosen, mixed
from orchestrator.handbook.citing import citations
from orchestrator.handbook.worth import hopeless


def behavior(id: int, **more: object) -> Behavior:
    return replace(Behavior(id=id, name=f"behavior_{id}", instruction=f"Do {id}."), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "cosines", "ids"),
    [
        ([], {}, []),
        ([(2, 9.0), (1, 9.0), (3, 1.0)], {}, [1, 2, 3]),  # nothing is known of meaning
        ([], {1: 0.2, 2: 0.3, 3: 0.2}, [2, 1, 3]),
        ([(1, 9.0)], {1: 0.30, 2: 0.39}, [1, 2]),  # the best by words gains a tenth
        ([(1, 9.0)], {1: 0.30, 2: 0.41}, [2, 1]),
        ([(3, 9.0), (1, 4.5)], {1: 0.30, 2: 0.34, 3: 0.1}, [1, 2, 3]),  # one half as good gains half of that
        ([(4, 5.0)], {1: 0.9, 2: 0.5, 3: 0.1}, [1, 4, 2, 3]),  # what is not embedded is taken for a mean one
        ([(1, 5.0)], {1: -1.0, 2: -0.5}, [2, 1]),
    ],
)
def test_meaning_orders_and_words_add_a_little(
    words: list[tuple[int, float]], cosines: dict[int, float], ids: list[int]
) -> None:
    assert mixed(words, cosines) == ids


@pytest.mark.parametrize(
    ("most", "tokens", "mass", "least", "ids", "left"),
    [
        (2, 100, 1.0, 0.0, [3, 5], "count"),
        (9, 10, 1.0, 0.0, [3], "tokens"),
        (9, 20, 1.0, 0.0, [3, 5], "tokens"),
        (9, 100, 0.5, 0.0, [3], "score"),  # 1.0 of 2.0: exactly at the limit
        (9, 100, 0.51, 0.0, [3, 5], "score"),
        (2, 100, 0.8, 0.0, [3, 5], "count"),  # the part is of the first two
        (9, 100, 1.0, 0.5, [3, 5], "score"),  # 0.5 is not below 0.5
        (9, 100, 1.0, 0.9, [3], "score"),
        (9, 100, 1.0, 1.1, [], "score"),
        (9, 100, 1.0, 0.0, [1, 3, 5], ""),
        (0, 100, 1.0, 0.0, [], "count"),
    ],
)
def test_caps_and_scores_hold_and_the_order_is_that_of_ids(
    most: int, tokens: int, mass: float, least: float, ids: list[int], left: str
) -> None:
    ranked = [(behavior(3), 1.0), (behavior(5), 0.5), (behavior(1), 0.5 if least == 0 else 0.4)]
    found = chosen(ranked, most=most, tokens=tokens, count=lambda each: 10, mass=mass, least=least)
    assert ([each.id for each in found.behaviors], found.num_tokens, found.left) == (ids, 10 * len(ids), left)


@pytest.mark.parametrize(
    ("sizes", "most", "mass", "ids", "left"),
    [
        ([90, 10, 10], 9, 1.0, [2, 3], "tokens"),  # the best one alone would blank the prompt
        ([10, 90, 10], 9, 1.0, [1, 3], "tokens"),
        ([10, 30, 10], 9, 1.0, [1, 2, 3], ""),  # exactly at the limit
        ([10, 31, 10, 9], 9, 1.0, [1, 2, 4], "tokens"),
        ([90, 10, 10, 10], 2, 1.0, [2, 3], "tokens"),
        ([90, 10, 10, 10], 9, 0.5, [2, 3], "tokens"),
        ([51], 9, 1.0, [], "tokens"),
    ],
)
def test_what_does_not_fit_is_passed_over_and_hides_nothing_behind_it(
    sizes: list[int], most: int, mass: float, ids: list[int], left: str
) -> None:
    ranked = [(behavior(id), 1.0) for id, _ in enumerate(sizes, 1)]
    found = chosen(ranked, most=most, tokens=50, count=lambda each: sizes[each.id - 1], mass=mass)
    assert ([each.id for each in found.behaviors], found.left) == (ids, left)


def taken(scores: list[float], mass: float, least: float = 0.0) -> int:
    ranked = [(behavior(id), score) for id, score in enumerate(scores, 1)]
    return len(chosen(ranked, most=8, tokens=100, count=lambda each: 1, mass=mass, least=least).behaviors)


def test_few_are_enough_where_few_stand_out_and_many_where_all_are_alike() -> None:
    peaked, flat = [0.9, *[0.1] * 31], [0.5] * 32
    assert taken(peaked, 0.5) == 1 and taken(flat, 0.5) == 4 and taken(flat, 0.99) == 8
    assert taken([0.1, 0.2, 0.05], 0.5, least=0.3) == taken([0.0, 0.0], 0.5) == taken([], 0.5) == 0


@given(st.lists(st.floats(-1, 1), max_size=12), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_larger_part_never_takes_fewer(scores: list[float], one: float, other: float) -> None:
    fewer, more = (taken(sorted(scores, reverse=True), mass) for mass in sorted((one, other)))
    assert 0 <= fewer <= more <= min(8, len(scores))


def test_citations_are_whole_names() -> None:
    text = "By behavior_carry, and (behavior_check). Not behavior_check_twice, xbehavior_carry or behavior_Made."
    assert citations(text, ["behavior_check", "behavior_carry", "behavior_rest"]) == (
        ("behavior_carry", "behavior_check"),
        ("behavior_check_twice",),
        ("behavior_rest",),
    )


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("behavior_sum_twice", ["behavior_sum_twice"]),
        ("behavior_sum", ["behavior_sum"]),
        ("behavior_sum_twice, behavior_sum", ["behavior_sum_twice", "behavior_sum"]),
        ("behavior_sum's, **behavior_sum_twice**", ["behavior_sum", "behavior_sum_twice"]),
        (r"\text{(behavior\_sum\_twice)}", ["behavior_sum_twice"]),
        ("behavior_sum_ behavior_sum__twice behavior_sumé ébehavior_sum behavior_sum٣", []),
        ("Behavior_sum says so. (Behavior\\_sum\\_twice)", ["behavior_sum", "behavior_sum_twice"]),
        ("Behavior_sum, then behavior_sum", ["behavior_sum"]),
        ("BEHAVIOR_sum Behavior_Sum xBehavior_sum", []),
        ("", []),
    ],
)
def test_of_names_that_begin_alike_the_one_that_is_written_is_cited(text: str, cited: list[str]) -> None:
    assert list(citations(text, ["behavior_sum", "behavior_sum_twice"]).cited) == cited


@given(st.text())
def test_any_text_can_be_looked_through(text: str) -> None:
    assert citations(text, ["behavior_a"]).unused in ((), ("behavior_a",))


def test_what_does_worse_than_the_others_is_hopeless_once_it_was_used_enough() -> None:
    some = [
        behavior(1, helpful=0, harmful=7),  # too few uses
        behavior(2, helpful=0, harmful=8),
        behavior(3, helpful=3, harmful=6),  # not sure yet
        behavior(4, helpful=0, harmful=1, neutral=20),  # one harm shows nothing
        behavior(5, harmful=20, is_active=False),
        behavior(6, helpful=0, harmful=0, neutral=20),
        behavior(7, helpful=60, harmful=20),
    ]
    assert [each.id for each in hopeless(some)] == [2]
    assert hopeless([]) == [] and [each.id for each in hopeless(some[1:2])] == [2]


@pytest.mark.parametrize(("helpful", "is_hopeless"), [(45, False), (30, False), (10, True)])
def test_on_hard_tasks_a_behavior_is_held_against_what_others_come_to(helpful: int, is_hopeless: bool) -> None:
    some = [behavior(1, helpful=helpful, harmful=110 - helpful), behavior(2, helpful=150, harmful=350)]
    assert (some[0] in hopeless(some)) == is_hopeless


def share_retired(chances: Sequence[float], uses: int) -> float:
    """Return the share of behaviors, each right with its chance, that are retired where all are looked at after each of
    so many uses."""
    random, times, retired = Random(7), 60, 0
    for _ in range(times):
        counts, gone = [[0, 0] for _ in chances], set[int]()
        for _ in range(uses):
            for count, chance in zip(counts, chances, strict=True):
                count[random.random() >= chance] += 1
            some = [behavior(id, helpful=good, harmful=bad) for id, (good, bad) in enumerate(counts)]
            gone |= {each.id for each in hopeless(some)}
        retired += len(gone)
    return retired / (times * len(chances))


@pytest.mark.parametrize(
    ("chances", "least", "most"),
    [((0.3, 0.3, 0.3), 0.0, 0.05), ((0.55, 0.55), 0.0, 0.05), ((0.5, 0.5), 0.0, 0.05), ((0.1, 0.6), 0.48, 0.5)],
)
def test_looking_after_each_use_retires_what_harms_and_hardly_ever_what_does_as_well_as_the_others(
    chances: Sequence[float], least: float, most: float
) -> None:
    assert least <= share_retired(chances, 60) <= most


def test_a_playbook_comes_back_as_it_was_written() -> None:
    some = [
        behavior(2, section="sums", helpful=3, harmful=1),
        behavior(7, section="sums", polarity="do_not"),
        behavior(1),
    ]
    text = written(some)
    assert text == (
        "[behavior_1-00001] helpful=0 harmful=0 :: Do 1.\n\n"
        "## sums\n[behavior_2-00002] helpful=3 harmful=1 :: Do 2.\n"
        "[behavior_7-00007] helpful=0 harmful=0 :: Do not: Do 7.\n"
    )
    assert [(each.name, each.section, each.polarity, each.helpful) for each in bullets_in(text)] == [
        ("behavior_1", "", "do", 0),
        ("behavior_2", "sums", "do", 3),
        ("behavior_7", "sums", "do_not", 0),
    ]


def test_bullets_of_other_programs_get_names_and_other_lines_are_refused_by_number() -> None:
    (found,) = bullets_in("# STRATEGIES\n[shr-00042] helpful=3 harmful=1 :: Read the docs.\n")
    assert found == ("behavior_shr_00042", "Read the docs.", "STRATEGIES", "do", 3, 1, 2)
    with pytest.raises(UserError, match=r"line 2: 'free text' is no bullet"):
        list(bullets_in("## a\nfree text"))
