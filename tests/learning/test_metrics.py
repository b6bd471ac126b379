"""Figures of predictions against what is known of them by hand, or by another library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from orchestrator.learning.metrics import auc, bootstrapped, caught, class_accuracy, ece, ranks, reliability, spearman

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40)


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks(array(3, 1, 3, 2)).tolist() == [3.5, 1, 3.5, 2]


@given(pairs)
def test_spearman_is_the_correlation_of_ranks(given: list[tuple[int, int]]) -> None:
    ours, theirs = (np.array(each, dtype=float) for each in zip(*given, strict=True))
    if len(set(ours)) > 1 and len(set(theirs)) > 1:
        assert spearman(ours, theirs) == pytest.approx(spearmanr(ours, theirs).statistic)
    else:
        assert np.isnan(spearman(ours, theirs))


@given(pairs)
def test_auc_is_the_chance_that_a_true_row_comes_first(given: list[tuple[int, int]]) -> None:
    predicted, other = (np.array(each, dtype=float) for each in zip(*given, strict=True))
    truth = other > 3
    if truth.any() and not truth.all():
        ahead = [(a > b) + (a == b) / 2 for a in predicted[truth] for b in predicted[~truth]]
        assert auc(predicted, truth) == pytest.approx(sum(ahead) / len(ahead))
    else:
        assert np.isnan(auc(predicted, truth))


def test_class_accuracies_count_each_class_for_itself_and_the_threshold_is_not_above() -> None:
    predicted, truth = array(0.1, 0.5, 0.7, 0.9), np.array([False, False, True, True])
    assert class_accuracy(predicted, truth, 0.5, False) == 1
    assert class_accuracy(predicted, truth, 0.7, True) == 0.5
    assert np.isnan(class_accuracy(predicted, ~np.zeros(4, dtype=bool), 0.5, False))


@pytest.mark.parametrize(("share", "found"), [(0.25, 0.5), (0.5, 0.5), (0.75, 1.0), (0, 0), (1, 1)])
def test_caught_is_the_share_of_the_true_that_is_sent(share: float, found: float) -> None:
    assert caught(array(0.9, 0.8, 0.7, 0.1), np.array([True, False, True, False]), share) == found


def test_reliability_leaves_out_empty_ranges_and_takes_1_into_the_last() -> None:
    table = reliability(array(0.05, 0.05, 1.0), np.array([False, True, True]))
    assert [(each.low, each.number, each.observed) for each in table] == [(0.0, 2, 0.5), (0.9, 1, 1.0)]
    assert ece(array(0.05, 0.05, 1.0), np.array([False, True, True])) == pytest.approx(2 / 3 * 0.45)


def test_perfectly_calibrated_predictions_have_no_error_and_no_rows_have_none_to_tell() -> None:
    assert ece(array(0.5, 0.5), np.array([True, False])) == 0
    assert np.isnan(ece(array(), np.array([], dtype=bool)))


def test_an_interval_draws_tasks_and_not_rows() -> None:
    random = np.random.default_rng(0)
    values = np.repeat(random.random(20), 50)  # fifty equal rows of each task say no more than one
    by_task = bootstrapped([str(place // 50) for place in range(1000)], lambda rows: float(values[rows].mean()))
    by_row = bootstrapped([str(place) for place in range(1000)], lambda rows: float(values[rows].mean()))
    assert by_task.value == by_row.value
    assert by_task.high - by_task.low > 4 * (by_row.high - by_row.low)


def test_one_task_alone_has_no_interval() -> None:
    figure = bootstrapped(["a", "a"], lambda rows: 1.0)
    assert figure.value == 1 and figure.low != figure.low
