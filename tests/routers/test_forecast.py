"""A fitted function as plain numbers: what it says, and what it refuses to be read from."""

from __future__ import annotations

import json
from math import exp, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UserError
from orchestrator.routers.forecast import Forecast, Logistic, Tree, Trees, sigmoid

LINE = Logistic(means=(1.0, 0.0), scales=(2.0, 1.0), weights=(0.5, -1.0), bias=0.25)
STUMP = Tree(
    features=(0, -1, 1, -1, -1),
    thresholds=(0.5, 0.0, 2.0, 0.0, 0.0),
    lefts=(1, 0, 3, 0, 0),
    rights=(2, 0, 4, 0, 0),
    values=(0.0, -1.0, 0.0, 1.0, 3.0),
)
WOOD = Trees(bias=0.1, trees=(STUMP, STUMP))
SHAPES = (LINE, WOOD)
HUGE = 10**400


def test_a_logistic_is_the_weighted_sum_of_standardised_features() -> None:
    assert LINE.score([3.0, 2.0]) == pytest.approx(0.25 + 0.5 * 1.0 - 2.0)


@pytest.mark.parametrize(
    ("values", "leaf"), [((0.5, 9), -1.0), ((0.51, 2.0), 1.0), ((0.51, 2.1), 3.0), ((-9.0, 0), -1.0)]
)
def test_a_value_at_the_threshold_goes_left(values: tuple[float, float], leaf: float) -> None:
    assert WOOD.score(values) == pytest.approx(0.1 + 2 * leaf)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_value_that_is_no_number_gives_no_number_and_no_branch(shape: Any) -> None:
    chance = Forecast(shape=shape).chance([nan, 1.0])
    assert chance != chance


@given(st.floats(allow_nan=False))
def test_a_chance_is_never_0_or_1_so_the_thresholds_ends_are_one_engine_alone(score: float) -> None:
    assert 0 < sigmoid(score) < 1


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.01, 5), st.floats(-3, 3))
def test_calibration_changes_no_order(one: float, other: float, slope: float, intercept: float) -> None:
    def chance(score: float) -> float:
        shape = Logistic(means=(0.0,), scales=(1.0,), weights=(1.0,), bias=0.0)
        return Forecast(shape=shape, slope=slope, intercept=intercept).chance([score])

    assert (one <= other) <= (chance(one) <= chance(other))


def test_the_calibration_is_laid_over_the_score() -> None:
    made = Forecast(shape=LINE, slope=2.0, intercept=-1.0)
    assert made.chance([1.0, 0.0]) == pytest.approx(1 / (1 + exp(-(2.0 * 0.25 - 1.0))))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_written_reads_back_the_same(shape: Any) -> None:
    made = Forecast(shape=shape, slope=1.5, intercept=-0.2)
    assert Forecast.from_json(json.loads(json.dumps(made.to_json())), 2) == made


def broken(shape: Any, **changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(Forecast(shape=shape).to_json())), **changes}


def tree(**changes: Any) -> dict[str, Any]:
    rows = json.loads(json.dumps(WOOD.to_json()))["trees"][0]
    return broken(WOOD, trees=[{**rows, **changes}])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (broken(LINE, kind="pickle"), "its kind is 'pickle'; known: logistic, trees"),
        (broken(LINE, weights=[0.5]), "weights has to be a list of 2 numbers"),
        (broken(LINE, weights=[0.5, "1"]), "weights holds something that is no finite number"),
        (broken(LINE, bias=None), "bias holds something"),
        (broken(LINE, bias=True), "bias holds something"),
        (broken(LINE, scales=[1.0, 0.0]), "a scale has to be above 0"),
        (broken(LINE, weights=[0.0, 0.0]), "the same of every draft"),
        (broken(LINE, calibration={"slope": -1.0, "intercept": 0.0}), "slope of its calibration"),
        (broken(LINE, calibration=None), "a slope and an intercept"),
        (broken(WOOD, trees=[]), "1 to 1000 trees"),
        (broken(WOOD, trees=[{}]), "a tree has features"),
        (tree(features=[0, -1, 2, -1, -1]), "a feature or leads to a node that is not there"),
        (tree(lefts=[0, 0, 3, 0, 0]), "a feature or leads to a node that is not there"),
        (tree(rights=[9, 0, 4, 0, 0]), "a feature or leads to a node that is not there"),
        (tree(lefts=[1.0, 0, 3, 0, 0]), "whole numbers"),
        (tree(lefts=[1, 0, 3, 0, 0], rights=[2, 0, 3, 0, 0]), "some are from two, or from none"),
        (tree(features=[0, -1, -1, -1, -1]), "some are from two, or from none"),
        (tree(features=[-1], thresholds=[0.0], lefts=[0], rights=[0], values=[1.0]), "the same of every draft"),
        *((broken(LINE, **{name: [1.0, HUGE]}), f"{name} holds something") for name in ("means", "scales", "weights")),
        (broken(LINE, bias=HUGE), "bias holds something"),
        (broken(LINE, calibration={"slope": HUGE, "intercept": 0.0}), "calibration holds something"),
        (tree(values=[0.0, HUGE, 0.0, 1.0, 3.0]), "values holds something"),
    ],
)
def test_what_is_no_forecast_is_refused_by_what_is_wrong(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Forecast.from_json(given, 2)
