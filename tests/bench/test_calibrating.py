"""Choosing a threshold: bounds that hold exactly at the target, the cheapest or the most accurate, the nearest."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import made_up

from orchestrator.bench.calibrating import Setting, Target, chosen, controls, grid, settings, written
from orchestrator.bench.cost import Use
from orchestrator.bench.profiles import Prices
from orchestrator.bench.sample import Sample
from orchestrator.errors import UserError
from orchestrator.intervals import ONE_SIDED, Interval, paired, wilson
from orchestrator.ledger import Price

PRICES = Prices(name="test", engines={"small": Price(), "large": Price(output=1.0)})


def sample(task: int, *, is_right: bool, large_steps: int = 0, decode: int = 0) -> Sample:
    uses = {"small": Use(), "large": Use(decode=decode)}
    return made_up("p", task, right=is_right, uses=uses, large_steps=large_steps, escalations=large_steps)


def row(right: list[bool], large_steps: int, decode: int) -> list[Sample]:
    return [sample(place, is_right=each, large_steps=large_steps, decode=decode) for place, each in enumerate(right)]


ALL, NONE = [True] * 40, [False] * 40
LARGE = row(ALL, 4, 100)


def test_what_equals_large_only_on_every_task_may_lose_what_so_few_tasks_cannot_rule_out() -> None:
    """Wilson's one-sided lower end for 40 of 40, and Newcombe's for no difference."""
    squared = ONE_SIDED * ONE_SIDED
    [found] = settings({0.5: row(ALL, 2, 50)}, LARGE, PRICES, Target("max-accuracy-loss", 0.0))
    assert found.bound == pytest.approx(-squared / (40 + squared))
    assert not found.is_met
    [found] = settings({0.5: row(ALL, 2, 50)}, LARGE, PRICES, Target("min-accuracy", 0.9))
    assert found.bound == pytest.approx(40 / (40 + squared))
    assert found.is_met
    assert found.accuracy == wilson(40, 40)
    assert found.versus_large == paired(ALL, ALL)
    assert found.large_share == wilson(80, 160)  # of steps
    assert found.cost == (50, 50, 50)


def test_what_all_tasks_agree_on_is_not_certain() -> None:
    """The bootstrap alone would be: every draw of equal tasks is the same."""
    for kind in ("min-accuracy", "max-accuracy-loss", "max-large-share"):
        for number in (30, 400):
            large = row([True] * number, 4, 100)
            [found] = settings({0.5: row([True] * number, 2, 50)}, large, PRICES, Target(kind, 0.5))
            value = {"min-accuracy": 1.0, "max-accuracy-loss": 0.0, "max-large-share": 0.5}[kind]
            assert found.bound is not None
            assert 0.001 < abs(found.bound - value) < (0.2 if number == 30 else 0.05)


@pytest.mark.parametrize(("target", "is_met"), [(Target("max-cost", 50), True), (Target("max-cost", 49), False)])
def test_exactly_at_the_target_is_met(target: Target, is_met: bool) -> None:
    [found] = settings({0.5: row(ALL, 2, 50)}, LARGE, PRICES, target)
    assert found.is_met is is_met


def test_the_bootstrap_counts_where_it_is_wider() -> None:
    """Steps of a task are alike here, so that 40 tasks know less than 160 steps would."""
    rows = [sample(task, is_right=True, large_steps=4 * (task % 2)) for task in range(40)]
    [found] = settings({0.5: rows}, LARGE, PRICES, Target("max-large-share", 0.6))
    assert found.bound is not None
    assert found.bound > wilson(80, 160, ONE_SIDED).high + 0.04
    assert not found.is_met


def test_a_risk_is_not_judged_by_an_interval() -> None:
    [found] = settings({0.5: row(ALL, 2, 50)}, LARGE, PRICES, Target("risk", 0.1))
    assert (found.bound, found.is_met) == (None, None)
    assert found.to_json()["bound"] is None


@pytest.mark.parametrize(
    ("target", "least"),
    [
        (Target("min-accuracy", 0.1), 30),
        (Target("max-cost", 5.0), 30),
        (Target("min-accuracy", 0.99), 268),
        (Target("risk", 0.1), 1),
    ],
)
def test_too_few_tasks_are_refused_with_the_number_needed(target: Target, least: int) -> None:
    target.check_tasks(least)
    with pytest.raises(UserError, match=f"--{target} needs at least {least} tasks; there are {least - 1}"):
        target.check_tasks(least - 1)


def test_the_number_needed_is_the_least_that_can_prove_an_accuracy() -> None:
    for number, is_met in ((267, False), (268, True)):
        right = [True] * number
        target = Target("min-accuracy", 0.99)
        [found] = settings({1.0: row(right, 2, 50)}, row(right, 4, 100), PRICES, target)
        assert found.is_met is is_met


def test_numbers_are_told_as_they_are_written() -> None:
    assert [written(each) for each in (3.0, 3.0000001, 0.1)] == ["3", "3.0000001", "0.1"]


def test_a_floor_has_to_hold_at_the_lower_bound_and_not_at_the_measured_value() -> None:
    right = [True] * 36 + [False] * 4
    [found] = settings({1.0: row(right, 2, 50)}, LARGE, PRICES, Target("min-accuracy", 0.9))
    assert found.accuracy.value == 0.9
    assert found.bound is not None
    assert found.bound < 0.9
    assert not found.is_met


def test_the_difference_is_paired_by_task() -> None:
    """Both fail on the same four tasks: the difference is surer than each of them."""
    right = [True] * 36 + [False] * 4
    [found] = settings({1.0: row(right, 2, 50)}, row(right, 4, 100), PRICES, Target("max-accuracy-loss", 0.1))
    assert found.versus_large == paired(right, right)
    assert found.versus_large.high - found.versus_large.low < found.accuracy.high - found.accuracy.low
    assert found.is_met


def test_settings_come_by_threshold() -> None:
    rows = {value: row(ALL, 2, 50) for value in (3.0, 1.0, 2.0)}
    assert [each.threshold for each in settings(rows, LARGE, PRICES, Target("min-accuracy", 0))] == [1, 2, 3]


def test_controls_are_what_the_thresholds_are_between() -> None:
    found = controls(row(NONE, 0, 0), LARGE, PRICES)
    assert (found.tasks, found.small.cost, found.large.cost) == (40, 0, 100)
    assert (found.small.accuracy.value, found.large.accuracy.value) == (0, 1)


def at(threshold: float, *, accuracy: float, cost: float, bound: float, is_met: bool) -> Setting:
    spread = Interval(accuracy, 0, 1)
    return Setting(threshold, spread, spread, Interval(0.5, 0, 1), Interval(cost, 0, 1), bound, is_met)


def test_of_those_that_keep_a_floor_the_cheapest_is_chosen_of_those_below_a_ceiling_the_most_accurate() -> None:
    found = [
        at(1, accuracy=0.5, cost=10, bound=0.4, is_met=False),
        at(2, accuracy=0.8, cost=20, bound=0.7, is_met=True),
        at(3, accuracy=0.9, cost=30, bound=0.8, is_met=True),
    ]
    assert chosen(found, Target("min-accuracy", 0.6)) == (found[1], True)
    assert chosen(found, Target("max-cost", 40)) == (found[2], True)


def test_where_none_keeps_the_target_the_nearest_is_named() -> None:
    found = [at(each, accuracy=0.5, cost=10, bound=each, is_met=False) for each in (0.1, 0.3, 0.2)]
    assert chosen(found, Target("min-accuracy", 0.6)) == (found[1], False)
    assert chosen(found, Target("max-cost", 0.01)) == (found[0], False)


def test_of_equals_the_least_threshold_is_chosen() -> None:
    found = [at(each, accuracy=0.5, cost=10, bound=1, is_met=True) for each in (2, 1, 3)]
    assert chosen(found, Target("min-accuracy", 0.6))[0].threshold == 1
    assert chosen(found, Target("max-cost", 40))[0].threshold == 1


@pytest.mark.parametrize(
    "target",
    [
        Target("min-accuracy", 1.0),
        Target("max-accuracy-loss", -0.1),
        Target("max-large-share", nan),
        Target("max-cost", float("inf")),
        Target("risk", 0),
        Target("risk", 1),
    ],
)
def test_a_target_that_is_none_is_refused(target: Target) -> None:
    with pytest.raises(UserError, match=f"--{target.kind} .*: give a number"):
        target.check()


def test_a_grid_cuts_the_readings_and_holds_both_ends() -> None:
    assert grid([float(each) for each in range(101)], 5) == [0, 25, 50, 75, 100]
    assert grid([1.0, 2.0], 8) == [1, 2]


@given(st.lists(st.floats(-10, 10), min_size=2).filter(lambda found: len(set(found)) > 1), st.integers(2, 20))
def test_a_grid_is_made_of_readings(readings: list[float], number: int) -> None:
    found = grid(readings, number)
    assert set(found) <= set(readings)
    assert 2 <= len(found) <= number
    assert (found[0], found[-1]) == (min(readings), max(readings))


def test_without_readings_or_with_equal_ones_there_is_nothing_to_choose() -> None:
    with pytest.raises(UserError, match="rated no draft"):
        grid([], 5)
    with pytest.raises(UserError, match="all 30 ratings are 4: no threshold tells such drafts apart"):
        grid([4.0] * 30, 5)
