"""Curves and areas: worked out by hand, and what has to be true of any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bench.area import Knot, area, at, curve


def test_the_area_is_that_worked_out_by_hand() -> None:
    of = curve([Knot(0.2, 0.6), Knot(0.4, 0.8)], small=0.5, large=1.0)
    # 0.2 * 0.55 + 0.2 * 0.7, then from 0.8 to 0.8666.. at 0.6
    assert area(of) == pytest.approx(0.11 + 0.14 + 0.2 * (0.8 + 0.8 + 0.2 / 3) / 2)
    assert area(of, up_to=0.2) == pytest.approx(0.11)
    assert area(of, up_to=0.1) == pytest.approx(0.1 * 0.525)


def test_small_only_and_large_only_alone_are_a_straight_line() -> None:
    of = curve([], small=0.5, large=0.9)
    assert at(of, 0.5) == pytest.approx(0.7)
    assert area(of) == pytest.approx(0.6 * (0.5 + 0.5 + 0.24) / 2)


def test_without_a_large_end_the_curve_stays_level_behind_its_last_setting() -> None:
    of = curve([Knot(0.3, 0.9)], small=0.5, large=None)
    assert [at(of, share) for share in (0.0, 0.3, 0.6, 1.0)] == [0.5, 0.9, 0.9, 0.9]
    assert area(of) == pytest.approx(0.3 * 0.7 + 0.3 * 0.9)


def test_a_curve_that_falls_is_left_falling() -> None:
    of = curve([Knot(0.2, 0.9), Knot(0.4, 0.6)], small=0.5, large=1.0)
    assert at(of, 0.4) == 0.6
    assert at(of, 0.3) == pytest.approx(0.75)


def test_settings_of_one_share_count_as_their_mean_and_one_of_share_0_with_small_only() -> None:
    of = curve([Knot(0.2, 0.5), Knot(0.2, 0.7), Knot(0.0, 0.7)], small=0.5, large=1.0)
    assert at(of, 0.2) == pytest.approx(0.6)
    assert at(of, 0.0) == pytest.approx(0.6)


_knots = st.lists(st.builds(Knot, st.floats(0, 1), st.floats(0, 1)), max_size=6)


@given(_knots, st.randoms(use_true_random=False))
def test_the_order_of_settings_does_not_matter(knots: list[Knot], random: object) -> None:
    shuffled = list(knots)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert area(curve(shuffled, 0.3, 0.9)) == pytest.approx(area(curve(knots, 0.3, 0.9)))


@given(_knots)
def test_an_area_lies_between_the_extremes(knots: list[Knot]) -> None:
    accuracies = [0.3, 0.9, *(knot.accuracy for knot in knots)]
    assert 0.6 * min(accuracies) - 1e-9 <= area(curve(knots, 0.3, 0.9)) <= 0.6 * max(accuracies) + 1e-9


@given(_knots, st.floats(0.01, 1))
def test_the_area_is_what_many_thin_slices_add_up_to(knots: list[Knot], up_to: float) -> None:
    spread = [Knot(round(share, 2), accuracy) for share, accuracy in knots]
    of = curve(spread, 0.3, 0.9)
    slices = 2000
    width = up_to / slices
    thin = sum(at(of, width * (place + 0.5)) for place in range(slices)) * width
    assert area(of, up_to) == pytest.approx(thin, abs=2e-3)
