"""Conformal thresholds: against numbers worked out by hand, and against what they promise on synthetic data."""

from __future__ import annotations

from fractions import Fraction
from math import nan
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bench.conformal import Scored, losses, threshold
from orchestrator.conformal import least_points
from orchestrator.errors import UserError


@pytest.mark.parametrize(("level", "needed"), [(0.1, 9), (0.05, 19), (0.01, 99), (0.3, 3), (0.5, 1), (0.03, 33)])
def test_too_few_tasks_for_a_level_are_refused_with_the_number_that_is_needed(level: float, needed: int) -> None:
    assert least_points(level) == needed
    assert threshold([[Scored(1.0, False)]] * needed, level) == 1.0
    with pytest.raises(UserError, match=rf"needs at least {needed} tasks; there are {needed - 1}"):
        threshold([[Scored(1.0, False)]] * (needed - 1), level)


@pytest.mark.parametrize("level", [0, 1, -0.1, nan])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(UserError, match="is none"):
        threshold([[Scored(1.0, False)]] * 100, level)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(UserError, match="nan is no score"):
        threshold([[Scored(nan, False)]] * 100, 0.1)


def test_the_risk_controlled_threshold_is_that_worked_out_by_hand() -> None:
    # Ten tasks of two steps; at 1, 2 and 3 the bad steps accepted are 3, 2 and 1, a loss of a half each.
    bad = [[Scored(place, True), Scored(9.0, False)] for place in (1.0, 2.0, 3.0)]
    tasks = [*bad, *([[Scored(9.0, False), Scored(5.0, False)]] * 7)]
    assert [float(sum(losses(tasks, at))) for at in (1.0, 2.0, 3.0, 5.0)] == [1.5, 1.0, 0.5, 0.0]
    # (loss + 1) / 11: 0.2272.., 0.1818.., 0.1363.., 0.0909..
    assert threshold(tasks, 0.23) == 1
    assert threshold(tasks, 0.2) == 2
    assert threshold(tasks, 0.15) == 3
    assert threshold(tasks, 0.1) == 5


def test_exactly_at_the_level_is_controlled() -> None:
    tasks = [[Scored(1.0, True)], *([[Scored(2.0, False)]] * 8)]
    assert threshold(tasks, 0.2) == 1  # (1 + 1) / 10
    assert threshold(tasks, 0.19) == 2


def test_where_everything_is_bad_only_accepting_nothing_will_do() -> None:
    assert threshold([[Scored(0.5, True)]] * 50, 0.1) is None
    assert threshold([[]] * 50, 0.1) is None  # no step was seen


_steps = st.lists(st.builds(Scored, st.integers(0, 9).map(float), st.booleans()), max_size=4)


@given(st.lists(_steps, min_size=20, max_size=40))
def test_the_loss_falls_with_the_threshold(tasks: list[list[Scored]]) -> None:
    sums = [sum(losses(tasks, float(at))) for at in range(11)]
    assert sums == sorted(sums, reverse=True)
    assert sums[10] == 0


@given(st.lists(_steps, min_size=20, max_size=40), st.floats(0.05, 0.9), st.floats(0.05, 0.9))
def test_a_stricter_level_never_accepts_more(tasks: list[list[Scored]], one: float, other: float) -> None:
    strict, loose = sorted((one, other))
    at_strict, at_loose = threshold(tasks, strict), threshold(tasks, loose)
    assert at_strict is None or (at_loose is not None and at_loose <= at_strict)


def task(random: Random) -> list[Scored]:
    """Steps that are right with a chance that their score says, and hard tasks whose steps are all worse."""
    hardness = random.random()
    steps = []
    for _ in range(random.randint(1, 8)):
        score = round(random.random(), 2)
        steps.append(Scored(score, random.random() > score * (1.2 - hardness)))
    return steps


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_on_exchangeable_tasks_the_risk_of_new_ones_is_what_was_asked_for(alpha: float) -> None:
    random = Random(f"risk {alpha}")
    realised = []
    for _ in range(150):
        at = threshold([task(random) for _ in range(100)], alpha)
        new = [task(random) for _ in range(20)]
        realised.append(Fraction(0) if at is None else sum(losses(new, at)) / len(new))
    mean = float(sum(realised) / len(realised))
    assert mean <= alpha + 0.01  # three standard errors
    assert mean >= alpha / 2  # and it is not kept by accepting nothing
