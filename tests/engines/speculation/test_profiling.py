"""The model of a server: what it was made with is found again, and it agrees with the policy of length."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import model, points, trial

from orchestrator.engines.base import Drafting
from orchestrator.engines.speculation.lengths import goodput as policy
from orchestrator.engines.speculation.profiling import Trial, fit_acceptance, fit_step_time, points_of

TOKENS, BATCHES = (0, 2, 5), (1, 4, 16, 64)
shares = st.floats(0.05, 1.0)


@given(st.floats(1, 100), st.floats(0.001, 5), shares, shares, st.floats(0.05, 0.99))
def test_the_time_of_a_step_and_acceptance_are_found_again(
    base_ms: float, token_ms: float, share: float, fill: float, rate: float
) -> None:
    truth = model(base_ms, token_ms, 0.0, share, fill, rate)
    found = points(truth, TOKENS, BATCHES)
    step, acceptance = fit_step_time(found), fit_acceptance(found)
    assert (step.base_ms, step.token_ms, step.draft_ms) == pytest.approx((base_ms, token_ms, 0.0), rel=1e-3)
    assert acceptance == pytest.approx((share, fill, rate), rel=1e-3)
    assert step.worst < 1e-4


@given(st.floats(1, 100), st.floats(0.001, 5), st.floats(0.1, 20))
def test_the_time_of_a_drafting_model_is_told_apart(base_ms: float, token_ms: float, draft_ms: float) -> None:
    found = fit_step_time(points(model(base_ms, token_ms, draft_ms), TOKENS, BATCHES), has_model=True)
    assert found[:3] == pytest.approx((base_ms, token_ms, draft_ms), rel=1e-3)


@settings(max_examples=50)
@given(st.lists(st.floats(0.2, 5), min_size=12, max_size=12), st.booleans())
def test_no_part_of_a_steps_time_is_ever_negative(factors: list[float], has_model: bool) -> None:
    places = [(tokens, batch) for tokens in TOKENS for batch in BATCHES]
    noisy = [trial(model(), *place, factor) for place, factor in zip(places, factors, strict=True)]
    step = fit_step_time(points_of(noisy), has_model=has_model)
    assert min(step) >= 0 and step.base_ms + step.token_ms > 0
    assert step.error <= step.worst


def test_where_every_step_verifies_a_whole_draft_it_is_the_goodput_of_the_policy() -> None:
    truth = model(base_ms=7.0, token_ms=0.3, rate=0.6)
    for batch in (1, 8, 100):
        for tokens in range(6):
            expected = 1000 * policy.goodput(0.6, batch, tokens, 7.0, 0.3)
            assert truth.goodput(batch, tokens) == pytest.approx(expected)


def test_a_point_is_the_median_of_its_trials_and_the_sum_of_their_counts() -> None:
    trials = [
        Trial(2, 4, goodput, 8, output, Drafting(10, 20, accepted), waited)
        for goodput, output, accepted, waited in ((90.0, 100, 10, 0.0), (120.0, 60, 5, 0.3), (100.0, 40, 5, 0.1))
    ]
    (point,) = points_of(trials)
    assert (point.goodput, list(point.goodputs), point.waited) == (100.0, [90.0, 100.0, 120.0], 0.3)
    assert point.steps == 180
    assert point.tokens_per_step == pytest.approx(200 / 180)
    assert point.drafted_per_step == pytest.approx(60 / 180)
    assert point.step_ms == pytest.approx(1000 * 4 * (200 / 180) / 100)


def test_points_are_in_order_and_no_speculation_is_first() -> None:
    found = points(model(), (5, None, 0), (16, 2))
    assert [(each.tokens, each.batch) for each in found] == [(None, 2), (None, 16), (0, 2), (0, 16), (5, 2), (5, 16)]


def test_better_is_better_in_every_trial() -> None:
    good, bad = points(model(), (0,), (1,), (1.0, 1.2, 1.1)) + points(model(), (0,), (1,), (0.8, 0.9, 0.99))
    worse = points(model(), (0,), (1,), (0.8, 0.9, 1.01))[0]
    assert good.is_better_than(bad) and not bad.is_better_than(good)
    assert not good.is_better_than(worse) and not worse.is_better_than(good)


def test_a_drafter_that_never_found_anything_has_no_acceptance_and_gains_nothing() -> None:
    acceptance = fit_acceptance(points(model(share=0.0), TOKENS, BATCHES))
    assert (acceptance.share, acceptance.tokens_per_step(5), acceptance.drafted_per_step(5)) == (0.0, 1.0, 0.0)


def test_all_that_is_drafted_may_stand() -> None:
    assert fit_acceptance(points(model(rate=1.0), TOKENS, BATCHES)).tokens_per_step(5) == pytest.approx(6.0)
