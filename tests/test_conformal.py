"""Conformal quantiles: against ranks worked out by hand, and against what they promise on synthetic data."""

from __future__ import annotations

from math import comb, inf, nan
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.conformal import above, at_most, least_points, quantile, rank
from orchestrator.errors import UserError


@pytest.mark.parametrize(
    ("number", "level", "confidence", "place"),
    [
        (9, 0.1, None, 9),  # 10 * 0.9
        (10, 0.1, None, 10),  # 9.9, rounded up
        (19, 0.05, None, 19),  # 20 * 0.95, exactly
        (99, 0.05, None, 95),
        (18, 0.05, None, 19),  # 18.05: there is no such value
        (3, 0.5, None, 2),
        (59, 0.05, 0.95, 59),  # 1 - 0.95^59 = 0.9515
        (58, 0.05, 0.95, 59),  # 1 - 0.95^58 = 0.9490
        (93, 0.05, 0.95, 92),  # the tables of tolerance limits: the second largest from 93 on
        (92, 0.05, 0.95, 92),
        (1, 0.5, 0.4, 1),
    ],
)
def test_the_rank_is_that_worked_out_by_hand(number: int, level: float, confidence: float | None, place: int) -> None:
    assert rank(number, level, confidence) == place


def test_the_confident_rank_is_the_least_whose_binomial_tail_is_enough() -> None:
    number, kept = 200, 0.9
    tails = [sum(comb(number, hit) * kept**hit * (1 - kept) ** (number - hit) for hit in range(k)) for k in range(201)]
    assert rank(number, 0.1, 0.95) == next(k for k, tail in enumerate(tails) if tail >= 0.95) == 188
    assert rank(number, 0.1) == 181


@pytest.mark.parametrize(
    ("level", "confidence", "needed"),
    [(0.05, None, 19), (0.1, None, 9), (0.05, 0.95, 59), (0.1, 0.95, 29), (0.5, 0.5, 1)],
)
def test_too_few_points_are_refused_with_the_number_that_is_needed(
    level: float, confidence: float | None, needed: int
) -> None:
    assert least_points(level, confidence) == needed
    assert quantile([float(each) for each in range(needed)], level, confidence) == needed - 1
    with pytest.raises(UserError, match=rf"needs at least {needed} tasks; there are {needed - 1}$"):
        quantile([0.0] * (needed - 1), level, confidence)


def test_a_value_that_is_no_number_and_a_confidence_that_is_none_are_refused() -> None:
    with pytest.raises(UserError, match="nan is no score"):
        quantile([nan] * 99, 0.1)
    for confidence in (0, 1, nan):
        with pytest.raises(UserError, match=r"confidence of .* is none"):
            rank(99, 0.1, confidence)


def test_values_may_be_infinite_and_tied() -> None:
    assert quantile([-inf] * 8 + [0.5], 0.1) == 0.5
    assert quantile([-inf] * 9, 0.1) == -inf
    assert quantile([0.7] * 20, 0.2) == 0.7


def test_what_is_above_a_value_is_the_next_number() -> None:
    assert above(1.0) > 1.0 > above(0.9999)
    assert above(-inf) == -inf


def test_a_binomial_tail_is_exact_at_its_edges() -> None:
    assert at_most(0, 10, 0.1) == pytest.approx(0.9**10)
    assert at_most(10, 10, 0.1) == pytest.approx(1)
    assert at_most(12, 10, 0.1) == pytest.approx(1)
    assert (at_most(0, 5, 0.0), at_most(4, 5, 1.0)) == (1.0, 0.0)


# ---- what they promise


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=60, max_size=80), st.floats(0.06, 0.9), st.floats(0.06, 0.9))
def test_a_stricter_level_and_a_confidence_never_lower_the_threshold(
    values: list[float], one: float, other: float
) -> None:
    strict, loose = sorted((one, other))
    assert quantile(values, strict) >= quantile(values, loose)
    assert quantile(values, strict, 0.95) >= quantile(values, strict)


def highest_wrong(random: Random) -> float:
    """The highest score of a wrong answer in a thought that is looked at one to six times."""
    scores = [random.random() ** 0.5 for _ in range(random.randint(1, 6)) if random.random() < 0.3]
    return max(scores, default=-inf)


def test_runs_end_wrongly_no_more_often_than_was_asked_for() -> None:
    """Over 2,000 draws of 99 tasks and a next one: 5% asked for, within three standard errors (0.5 points each)."""
    random = Random(1)
    wrong = 0
    for _ in range(2000):
        q = quantile([highest_wrong(random) for _ in range(99)], 0.05)
        wrong += highest_wrong(random) >= above(q)
    assert 0.035 <= wrong / 2000 <= 0.065


def test_with_a_confidence_nearly_every_draw_keeps_the_level() -> None:
    """Uniform scores, whose chance to pass a threshold is known: 300 draws of 200, 95% asked for, three errors off."""
    random = Random(2)
    draws = [quantile([random.random() for _ in range(200)], 0.1, 0.95) for _ in range(300)]
    share = sum(1 - q <= 0.1 for q in draws) / len(draws)
    assert share >= 0.95 - 0.04
    marginal = [quantile([random.random() for _ in range(200)], 0.1) for _ in range(300)]
    assert sum(1 - q <= 0.1 for q in marginal) / 300 < 0.7  # on average is not nearly always
