"""What ending early saves: against sums worked out by hand."""

from __future__ import annotations

from math import isnan

import pytest

from orchestrator.bench.exits import Ended, at_risks, compare, ended, oracle
from orchestrator.intervals import upper
from orchestrator.learning.exits import Look, Thought

EASY = Thought("a", (Look(0.2, False, 10, 2), Look(0.9, True, 20, 2), Look(1.0, True, 40, 2)), 100, True)
HARD = Thought("b", (Look(0.95, False, 30, 2),), 100, True)
LOST = Thought("c", (Look(0.99, False, 50, 2), Look(0.0, False, 60, 2, False)), 100, False)


@pytest.mark.parametrize(
    ("thought", "threshold", "end"),
    [
        (EASY, 0.9, Ended(20, 4, True, True)),  # exactly at it
        (EASY, 0.91, Ended(40, 6, True, True)),
        (EASY, 1.1, Ended(100, 6, True, False)),
        (EASY, 0.0, Ended(10, 2, False, True)),
        (LOST, 1.0, Ended(100, 4, False, False)),
        (Thought("d", (Look(0.0, False, 5, 1, False),), 9, True), 0.0, Ended(9, 1, True, False)),  # without an answer
        (Thought("e", (), 9, True), 0.0, Ended(9, 0, True, False)),
    ],
)
def test_a_thought_ends_at_the_first_look_that_reaches_the_threshold(
    thought: Thought, threshold: float, end: Ended
) -> None:
    assert ended(thought, threshold) == end


def test_the_oracle_ends_behind_the_first_right_answer_and_pays_for_no_look() -> None:
    assert oracle(EASY) == Ended(20, 0, True, True)
    assert oracle(HARD) == Ended(100, 0, True, False)


def test_a_policy_is_compared_with_the_oracle_and_its_looks_count_against_it() -> None:
    found = compare([EASY, HARD, LOST], 0.9)
    assert (found.tasks, found.exits, found.spent) == (3, 3, 8)
    assert found.saved == pytest.approx((300 - (20 + 30 + 50) - 8) / 300)
    assert found.of_oracle == pytest.approx(192 / 80)  # it may save more than the oracle, by mistakes
    assert (found.mis_exits, found.harmed) == pytest.approx((2 / 3, 1 / 3))
    assert (found.mis_exits_most, found.harmed_most) == (upper(2, 3), upper(1, 3))
    assert (found.accuracy, found.whole_accuracy) == pytest.approx((1 / 3, 2 / 3))


def test_the_oracle_may_look_oftener_than_the_policy() -> None:
    seldom = EASY.at(lambda look: look.tokens == 40)
    assert compare([seldom], 0.9, every_step=[EASY]).of_oracle == pytest.approx((100 - 40 - 2) / 80)


def test_where_the_oracle_saves_nothing_there_is_no_share_of_it() -> None:
    found = compare([HARD], 1.1)
    assert isnan(found.of_oracle)
    assert found.saved == pytest.approx(-0.02)


@pytest.mark.parametrize(
    ("hits", "number", "bound"),
    [(0, 59, 0.0495), (0, 10, 0.2589), (1, 100, 0.0466), (5, 100, 0.1023), (10, 10, 1.0), (0, 0, 1.0)],
)
def test_the_upper_bound_is_that_of_the_tables(hits: int, number: int, bound: float) -> None:
    assert upper(hits, number) == pytest.approx(bound, abs=5e-5)


def test_each_risk_is_measured_at_its_threshold_or_says_what_it_needs() -> None:
    tasks = [EASY._replace(task=str(number)) for number in range(9)]
    refused, found = at_risks(tasks, [0.05, 0.1])
    assert refused == {"risk": 0.05, "refused": "a level of 0.05 needs at least 19 tasks; there are 9"}
    assert found["threshold"] == pytest.approx(0.2)  # all tasks have a wrong answer at 0.2, and none above
    assert (found["mis_exits"], found["of_oracle"]) == (0.0, pytest.approx((720 - 36) / 720))
    harmless = [LOST._replace(task=str(number)) for number in range(9)]
    assert at_risks(harmless, [0.1])[0]["mis_exits"] == 0.0
    (harmful,) = at_risks(harmless, [0.1], "harmful")
    assert (harmful["threshold"], harmful["mis_exits"], harmful["harmed"]) == (0.0, 1.0, 0.0)
    assert harmful["of_oracle"] is None
