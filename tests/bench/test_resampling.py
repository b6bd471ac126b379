"""The intervals of ratios and of speed-ups: each holds the value it belongs to, and is the same every time."""

from __future__ import annotations

from random import Random

import pytest

from orchestrator.bench.resampling import held_out, ratio_ends, ratio_interval, speed_up_interval, spread


def race(number: int, seed: int = 0) -> tuple[list[list[float]], list[list[bool]]]:
    """A policy, small-only and large-only: the policy is as right as large-only and three times as fast."""
    random = Random(seed)
    large = [random.random() < 0.8 for _ in range(number)]
    small = [hit and random.random() < 0.5 for hit in large]
    seconds = [[random.uniform(0.5, 1.5) for _ in large], [0.1 for _ in large], [3.0 for _ in large]]
    return seconds, [list(large), small, large]


def test_the_interval_holds_the_speed_up_of_a_policy_that_answers_like_large_only() -> None:
    seconds, hits = race(300)
    low, high = speed_up_interval(seconds, hits)
    speed_up = sum(seconds[2]) / sum(seconds[0])
    assert low < speed_up < high
    assert high - low < 0.5


def test_the_interval_is_the_same_every_time() -> None:
    assert speed_up_interval(*race(50)) == speed_up_interval(*race(50))


def test_more_tasks_narrow_the_interval() -> None:
    low, high = speed_up_interval(*race(40))
    nearer_low, nearer_high = speed_up_interval(*race(1000))
    assert nearer_high - nearer_low < (high - low) / 2


def test_a_policy_that_is_only_wrong_saves_nothing() -> None:
    seconds = [[1.0] * 60, [1.0] * 60, [4.0] * 60]
    hits = [[False] * 60, [False] * 60, [place % 3 > 0 for place in range(60)]]
    assert speed_up_interval(seconds, hits) == (1, 1)


@pytest.mark.parametrize("number", [3, 7, 61, 199])
def test_equal_answers_are_equally_accurate_in_every_draw(number: int) -> None:
    """Rounding may not part them: each draw would then find that the policy just misses large-only's accuracy."""
    random = Random(number)
    large = [random.random() < 0.7 for _ in range(number)]
    hits = [list(large) for _ in range(5)] + [[False] * number, large]
    seconds = [[1.0] * number for _ in range(5)] + [[0.5] * number, [2.0] * number]
    assert speed_up_interval(seconds, hits) == (2, 2)


def test_the_interval_of_a_ratio_holds_it_and_narrows_with_tasks() -> None:
    random = Random(1)
    under = [random.uniform(5, 15) for _ in range(800)]
    over = [2 * each * random.uniform(0.5, 1.5) for each in under]
    low, high = ratio_ends(over[:100], under[:100]) or (0, 0)
    assert low < sum(over[:100]) / sum(under[:100]) < high
    nearer_low, nearer_high = ratio_ends(over, under) or (0, 0)
    assert nearer_high - nearer_low < (high - low) / 2


def test_tasks_are_drawn_with_both_of_their_values() -> None:
    low, high = ratio_ends([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) or (0, 0)
    assert (low, high) == pytest.approx((2, 2))


def test_a_ratio_over_what_is_often_nothing_has_no_interval() -> None:
    assert ratio_ends([1.0, 2.0], [0.0, 1.0]) is None
    assert ratio_interval([0.0, 0.0], [0.0, 0.0]) is None


def test_a_draw_without_a_figure_is_left_out_and_counts_as_nothing_no_more() -> None:
    assert spread([None] * 3 + [float(each) for each in range(1, 98)], [0, 1]) == (1, 97)
    assert spread([None] * 6 + [1.0] * 94) is None
    found = ratio_interval([0.0] * 16 + [1.0] * 4, [0.0] * 16 + [1.0] * 4)  # one draw in a hundred has none of the four
    assert found == (1, 1, 1)


def test_what_holds_on_every_half_is_as_good_held_out() -> None:
    seconds, hits = race(400)
    speed_up, difference = held_out(seconds, hits)
    assert speed_up == pytest.approx(3.0, rel=0.05)
    assert difference == pytest.approx(0.0, abs=0.01)
    assert held_out(seconds, hits) == (speed_up, difference)


def test_a_setting_that_was_lucky_on_few_tasks_loses_its_luck_held_out() -> None:
    """Thirty settings that guess: the best of them looks as right as large-only here, and is not elsewhere."""
    random = Random(5)
    number = 40
    guesses = [[random.random() < 0.5 for _ in range(number)] for _ in range(30)]
    large = [random.random() < 0.62 for _ in range(number)]
    small = [False] * number
    seconds = [*([1.0] * number for _ in guesses), [0.5] * number, [4.0] * number]
    hits = [*guesses, small, large]
    _, high = speed_up_interval(seconds, hits)
    _, difference = held_out(seconds, hits)
    assert high > 3.5
    assert difference < -0.05


def test_one_task_cannot_be_halved() -> None:
    assert held_out([[1.0], [2.0]], [[True], [True]]) == (1.0, 0.0)
