"""Each source of drafts against what it is said to do, and against a search that cannot be wrong."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import drafter, serve, settle

from orchestrator.engines.speculation.matching import END
from orchestrator.engines.speculation.rows import Row
from orchestrator.engines.speculation.sources.ngrams import NGrams
from orchestrator.engines.speculation.sources.siblings import Siblings
from orchestrator.engines.speculation.sources.successors import Successors
from orchestrator.engines.speculation.sources.suffix import Past, Suffix
from orchestrator.engines.speculation.sources.trigrams import TriGrams

few = st.integers(0, 3)


def row(tokens: list[int], num_prompt: int = 0, num_new: int = 1) -> Row:
    return Row(np.array(tokens, dtype=np.int32), num_prompt, num_new)


# ---- the row itself


@given(st.lists(few, min_size=3, max_size=60), st.integers(2, 6))
def test_the_longest_end_that_stood_before_is_what_counts(tokens: list[int], highest: int) -> None:
    draft = NGrams(highest=highest).draft(row(tokens), [], 1)
    for order in range(min(highest, len(tokens) - 1), 1, -1):
        end = tokens[-order:]
        following = [tokens[at + order] for at in range(len(tokens) - order) if tokens[at : at + order] == end]
        if following:
            assert following.count(draft[0]) == max(Counter(following).values())
            return
    assert draft == []


def test_a_higher_order_wins_over_a_more_frequent_lower_one() -> None:
    tokens = [1, 2, 3, 9, 2, 3, 4, 2, 3, 4, 2, 3, 4, 1, 2, 3]
    assert NGrams().draft(row(tokens), [], 1) == [9]


def test_other_rows_say_nothing_to_it() -> None:
    source = NGrams()
    source.learn(row([1, 2, 3, 4]))
    source.finish(row([1, 2, 3, 4]))
    assert source.draft(row([8, 1, 2]), [row([1, 2, 3])], 4) == []


# ---- earlier outputs


def test_a_repeated_output_is_drafted_fully_the_second_time() -> None:
    made = drafter(sources=["suffix"], length="fixed")
    output = list(range(50, 110))
    first = serve(made, {"a": ([1, 2, 3], output)})
    assert not any(first["a"])
    settle(made)
    before = made.tallies[0].accepted
    second = serve(made, {"b": ([4, 5, 6], output)})
    assert len(second["b"]) < len(output) / 3
    assert made.tallies[0].accepted - before >= 45


def test_what_never_stood_there_is_not_guessed() -> None:
    source = Suffix()
    source.finish(row([1, 2, 3, 4]))
    assert source.draft(row([7, 8, 9]), [], 5) == []


def test_the_prompt_is_not_an_output() -> None:
    source = Suffix()
    source.finish(row([1, 2, 3, 7, 8, 9], num_prompt=3))
    assert source.draft(row([1, 2]), [], 5) == []
    assert source.draft(row([5, 7, 8]), [], 5) == [9]


def test_no_more_is_drafted_than_was_matched() -> None:
    source = Suffix()
    source.finish(row(list(range(40))))
    assert source.draft(row([90, 10, 11]), [], 9) == [12, 13]
    assert source.draft(row([90, 10, 11, 12, 13]), [], 9) == [14, 15, 16, 17]
    assert Suffix(factor=0.5).draft(row([90, 10, 11, 12, 90, 10, 11, 12]), [], 9) == [90, 10]


def test_a_continuation_that_few_places_share_is_not_followed() -> None:
    source = Suffix(least_share=0.6)
    for last in (1, 2, 3, 1):
        source.finish(row([50, 51, 52, 53, last]))
    assert source.draft(row([50, 51]), [], 9) == [52, 53]
    assert source.draft(row([9, 50, 51, 52, 53]), [], 1) == []  # 1 follows at half of the places


@given(st.lists(st.lists(few, max_size=12), max_size=12), st.integers(4, 40), few, few)
def test_the_ring_knows_every_place_it_still_holds(outputs: list[list[int]], capacity: int, a: int, b: int) -> None:
    past = Past(capacity)
    written: list[int] = []
    for output in outputs:
        past.add(output)
        written += [*output, END]
    first = max(0, len(written) - capacity)
    true = [
        at % capacity
        for at in range(first + 2, len(written))
        if written[at - 2 : at] == [a, b] and written[at] != END and at % capacity >= 2
    ]
    assert past.after_pair(np.array([a, b], dtype=np.int32)).tolist() == true


def test_what_is_oldest_is_forgotten() -> None:
    source = Suffix(capacity=20)
    source.finish(row([1, 2, 3]))
    assert source.draft(row([1, 2]), [], 1) == [3]
    for number in range(4):
        source.finish(row([10 * number + 10 + each for each in range(6)]))
    assert source.draft(row([1, 2]), [], 1) == []
    assert len(source.past.ids) == 20


# ---- siblings


def test_the_majority_of_siblings_is_followed() -> None:
    prompt = [1, 2, 3]
    asking = row([*prompt, 7, 8], num_prompt=3)
    said = [row([*prompt, 7, 8, last, 5], num_prompt=3) for last in (9, 4, 9)]
    assert Siblings().draft(asking, [asking, *said], 2) == [9, 5]
    assert Siblings().draft(asking, [*reversed(said), asking], 2) == [9, 5]


def test_a_lone_request_gets_nothing_from_strangers() -> None:
    asking = row([1, 2, 3, 7, 8], num_prompt=3)
    stranger = row([1, 2, 4, 7, 8, 9], num_prompt=3)
    assert Siblings().draft(asking, [asking], 4) == []
    assert Siblings().draft(asking, [asking, stranger], 4) == []


def test_without_a_majority_nothing_is_drafted() -> None:
    asking = row([1, 7, 8], num_prompt=1)
    said = [row([1, 7, 8, last], num_prompt=1) for last in (4, 5, 6)]
    assert Siblings().draft(asking, [asking, *said], 2) == []


def test_rows_that_move_between_calls_keep_their_siblings() -> None:
    made = drafter(sources=["siblings"], length="fixed")
    output = list(range(50, 90))
    late = [*range(200, 230), *output]
    serve(made, {"early": ([1, 2], output), "late": ([1, 2], late), "other": ([3, 4], output)})
    assert made.tallies[0].accepted >= 20


# ---- tables


def test_trigrams_are_counted_and_fade() -> None:
    source = TriGrams(cap=4)
    for _ in range(3):
        source.learn(row([1, 2, 3]))
    assert source.count(1, 2, 3) == 3
    source.learn(row([1, 2, 4]))
    source.learn(row([1, 2, 3]))
    assert (source.count(1, 2, 3), source.count(1, 2, 4)) == (2, 0.5)


def test_only_new_tokens_are_counted() -> None:
    source = TriGrams()
    source.learn(row([1, 2, 3, 4, 5], num_new=2))
    assert (source.count(1, 2, 3), source.count(2, 3, 4), source.count(3, 4, 5)) == (0, 1, 1)


def test_the_likeliest_token_is_drafted_and_others_are_tried() -> None:
    eager, curious = TriGrams(bonus=0.0), TriGrams(bonus=1.0)
    for source in (eager, curious):
        for third in (3, 3, 3, 4):
            source.learn(row([1, 2, third]))
    asked = row([1, 2])
    assert {tuple(eager.draft(asked, [], 1)) for _ in range(20)} == {(3,)}
    assert {tuple(curious.draft(asked, [], 1)) for _ in range(20)} == {(3,), (4,)}


def test_the_table_of_trigrams_is_bounded() -> None:
    source = TriGrams(most_pairs=10)
    source.learn(row(list(range(100)), num_new=100))
    assert source.count(0, 1, 2) == 0
    assert source.count(97, 98, 99) == 1


def test_successors_are_followed_until_an_unknown_token() -> None:
    source = Successors()
    source.learn(row([1, 2, 3, 9], num_new=4))
    assert source.draft(row([1]), [], 9) == [2, 3, 9]
    source.learn(row([2, 5], num_new=2))
    assert source.draft(row([1]), [], 9) == [2, 5]
    assert source.draft(row([500_000]), [], 9) == []


def test_the_table_of_successors_stays_small() -> None:
    source = Successors()
    source.learn(row([5, 151_935, 7], num_new=3))
    assert source.draft(row([5]), [], 2) == [151_935, 7]
    assert source.table.nbytes < 2_000_000


@pytest.mark.parametrize("source", [NGrams(), Suffix(), Siblings(), TriGrams(), Successors()])
@pytest.mark.parametrize("tokens", [[], [1], [1, 2]])
def test_short_rows_are_no_trouble(source: NGrams, tokens: list[int]) -> None:
    asked = row(tokens, num_new=min(1, len(tokens)))
    source.learn(asked)
    assert source.draft(asked, [asked], 5) == []
    source.finish(asked)
