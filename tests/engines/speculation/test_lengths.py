"""Each policy of length finds the best one for an acceptance that it does not know, and follows when that changes."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from orchestrator.engines.speculation.lengths.base import Length
from orchestrator.engines.speculation.lengths.feedback import Feedback
from orchestrator.engines.speculation.lengths.goodput import Goodput, best_length, goodput
from orchestrator.engines.speculation.lengths.thompson import Thompson
from orchestrator.engines.speculation.rows import Row

MOST = 8


def row() -> Row:
    return Row(np.array([1], dtype=np.int32), 1, 1)


def chosen(policy: Length, acceptance: float, times: int = 400, batch: int = 1, seed: int = 0) -> float:
    """Return the mean of the last hundred lengths, with tokens that stand independently."""
    random, asked, lengths = Random(seed), row(), []
    for _ in range(times):
        length = policy.choose(asked, batch)
        assert 0 <= length <= MOST
        lengths.append(length)
        if length:
            stood = 0
            while stood < length and random.random() < acceptance:
                stood += 1
            policy.observe(asked, length, stood)
    return sum(lengths[-100:]) / 100


@pytest.mark.parametrize("make", [Feedback, Thompson])
def test_more_is_drafted_where_more_stands(make: type[Feedback] | type[Thompson]) -> None:
    low, middle, high = (chosen(make(MOST), acceptance) for acceptance in (0.05, 0.7, 1.0))
    assert 1 <= low < 2.5 < middle < high
    assert high > 7


@pytest.mark.parametrize("make", [Feedback, Thompson, Goodput])
def test_a_change_is_followed(make: type[Feedback] | type[Thompson] | type[Goodput]) -> None:
    policy = make(MOST)
    before = chosen(policy, 0.95)
    after = chosen(policy, 0.1, times=2000)
    again = chosen(policy, 0.95, times=2000)
    assert after < before - 2
    assert again > after + 2


def test_rows_have_lengths_of_their_own() -> None:
    policy = Feedback(MOST)
    good, bad = row(), row()
    for _ in range(10):
        policy.observe(good, 4, 4)
        policy.observe(bad, 4, 0)
    assert (policy.choose(good, 2), policy.choose(bad, 2)) == (MOST, 1)


def test_draws_are_seeded() -> None:
    one, other = ([Thompson(MOST, seed=3).choose(row(), 1) for _ in range(1)] for _ in range(2))
    assert one == other


@pytest.mark.parametrize("acceptance", [0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("batch", [1, 16, 256])
def test_goodput_converges_to_the_best_length_there_is(acceptance: float, batch: int) -> None:
    rates = [goodput(acceptance, batch, length, 10.0, 0.05) for length in range(MOST + 1)]
    best = max(range(MOST + 1), key=lambda length: (rates[length], -length))
    assert best_length(acceptance, batch, MOST, 10.0, 0.05) == best
    policy = Goodput(MOST)
    found = round(chosen(policy, acceptance, times=4000, batch=batch))
    assert rates[min(found, MOST)] >= 0.93 * rates[best]


def test_nothing_is_drafted_under_load_and_the_longer_the_batch_the_shorter_the_draft() -> None:
    lengths = [best_length(0.6, batch, MOST, 10.0, 0.05) for batch in (1, 8, 32, 64, 128, 256, 512, 2048)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] == 0 < lengths[0]
