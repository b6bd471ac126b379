"""What gates of modes come to: against sums worked out by hand."""

from __future__ import annotations

from math import isnan, log
from typing import Any

import pytest

from orchestrator.bench.mode_choice import Tried
from orchestrator.bench.mode_gates import (
    GATES,
    area,
    by_kind,
    calibrated,
    calibrated_by_kind,
    fixed,
    gated,
    guessed,
    measured,
)
from orchestrator.bench.mode_table import table
from orchestrator.errors import UserError


def row(task: str, *, right: bool, sure: float, forced: str = "5") -> dict[str, Any]:
    """A task whose first try wrote 5 in 6 tokens and whose thought took 60; two answers of 3 tokens were forced."""
    return {
        "task": task,
        "preset": "easy",
        "try_right": right,
        "try_tokens": 6,
        "try_answer": "5",
        "think_right": True,
        "think_tokens": 60,
        "before": [(forced, log(sure))],
        "again": [(forced, log(sure))],
        "written": log(sure),
        "probes": [3, 3],
    }


SURE = row("a", right=True, sure=0.95)
DOUBTED = row("b", right=True, sure=0.5)
WRONG = row("c", right=False, sure=0.6)
ROWS = [SURE, DOUBTED, WRONG]


@pytest.mark.parametrize(
    ("gate", "threshold", "tokens"),
    [
        ("first try, written", 0.95, [6, 66, 66]),  # exactly at it
        ("first try, confidence", 0.96, [69, 69, 69]),
        ("first try, agreement", 1.0, [9, 9, 9]),
        ("agreement before", 1.0, [9, 9, 9]),
        ("confidence before", 0.9, [9, 63, 63]),  # nothing was written that is thrown away
        ("first try, exact check", 1.0, [6, 6, 66]),
    ],
)
def test_a_policy_pays_for_all_that_was_written_and_asked(gate: str, threshold: float, tokens: list[int]) -> None:
    assert [run.cost for run in gated(ROWS, GATES[gate], threshold)] == tokens


def test_an_answer_that_is_forced_otherwise_has_no_confidence() -> None:
    assert GATES["first try, confidence"].reads(row("d", right=True, sure=0.9, forced="6")) == 0
    assert GATES["first try, agreement"].reads(row("d", right=True, sure=0.9, forced="6")) == 0


def test_a_threshold_loses_a_task_as_rarely_as_was_asked_for() -> None:
    rows = [row(str(place), right=False, sure=(place + 1) / 100) for place in range(99)]
    assert calibrated(rows, GATES["first try, written"], 0.1) == pytest.approx(0.9)
    lost = sum(run.mode == "no_think" for run in gated(rows, GATES["first try, written"], 0.9000001))
    assert lost == 9
    hopeless = [each | {"think_right": False} for each in rows]  # nothing is lost where thinking is no better
    assert calibrated(hopeless, GATES["first try, written"], 0.1) == 0
    with pytest.raises(UserError, match=r"a level of 0.001 needs at least 999 tasks; there are 99"):
        calibrated(rows, GATES["first try, written"], 0.001)


def test_gates_are_compared_by_how_well_they_tell_right_from_wrong() -> None:
    assert area(ROWS, GATES["first try, written"]) == 0.5
    assert area(ROWS, GATES["first try, exact check"]) == 1
    assert isnan(area([SURE], GATES["first try, written"]))


def test_a_choice_is_measured_beside_thinking_and_the_best_modes() -> None:
    found = measured(ROWS, gated(ROWS, GATES["first try, written"], 0.9))
    assert (found.stands, found.lost.value) == pytest.approx((1 / 3, 0))
    assert found.compared.saving == pytest.approx(1 - 138 / 180)
    assert found.compared.best_saving == pytest.approx(1 - 72 / 180)
    assert found.compared.confusion == {
        ("no_think", "no_think"): 1,
        ("no_think", "think"): 1,
        ("think", "think"): 1,
    }


def test_a_share_is_as_sure_as_there_are_expressions() -> None:
    rows = [row(str(place), right=place % 2 == 0, sure=0.95 if place % 4 == 0 else 0.5) for place in range(80)]
    apart, alike = (
        measured(rows, gated(rows, GATES["first try, written"], 0.9))
        for rows in ([each | {"expression": str(place // size)} for place, each in enumerate(rows)] for size in (1, 8))
    )
    assert apart.share is not None and alike.share is not None
    saved = (20 * 54 - 60 * 6) / (40 * 54)
    assert [apart.share.value, apart.compared.share, alike.share.value] == pytest.approx([saved] * 3)
    assert apart.share.low < apart.share.value < apart.share.high
    assert (
        alike.share.low == alike.share.high == pytest.approx(alike.share.value)
    )  # each is half right, in the same way
    assert measured([WRONG], gated([WRONG], GATES["first try, written"], 0.9)).share is None  # nothing could be saved


def test_fixed_modes_and_a_guess_ask_nothing_and_throw_nothing_away() -> None:
    assert fixed([SURE]) == [Tried("a", "no_think", True, 6), Tried("a", "think", True, 60)]
    assert {run.cost for run in guessed(ROWS, 1.0)} == {60}
    assert {run.cost for run in guessed(ROWS, 0.0)} == {6}


def test_the_table_names_every_gate_and_refuses_risks_that_are_too_small() -> None:
    rows = [row(str(place), right=place % 3 == 0, sure=0.4 + place % 5 / 10) for place in range(400)]
    told = table(rows, rows)
    for name in GATES:
        assert name in told
    assert "first try, written, 0.005: a level of 0.005 with confidence 0.95 needs at least 598 tasks" in told
    assert "best mode of each task" in told


def test_by_kind_no_first_try_is_paid_where_none_has_stood_and_other_kinds_are_tried_on() -> None:
    written = GATES["first try, written"]
    hard = [row(f"h{place}", right=False, sure=0.3) | {"expression": "1+2*3"} for place in range(12)]
    easy = [row(f"e{place}", right=True, sure=0.99) | {"expression": "1+2"} for place in range(3)]
    costs = [run.cost for run in by_kind([*hard, *easy], written, 0.9)]
    assert costs == [66] * 8 + [60] * 4 + [6] * 3


def test_by_kind_the_lowest_threshold_is_taken_that_surely_costs_little() -> None:
    written = GATES["first try, written"]
    rows = [row(str(place), right=place >= 8, sure=0.8 + 0.1 * (place >= 8)) for place in range(800)]
    apart = [each | {"expression": f"{place}+2"} for place, each in enumerate(rows)]
    assert calibrated_by_kind(apart, written, 0.01) == 0.81  # below it 8 of 800 are lost, and perhaps more
    assert calibrated_by_kind(apart, written, 0.025) == 0.0
    alike = [each | {"expression": f"{place // 8}+2"} for place, each in enumerate(rows)]
    assert calibrated_by_kind(alike, written, 0.025) == 0.81  # one expression is wrong, in all its wordings
    with pytest.raises(UserError, match=r"no threshold is sure to cost at most 0.001 of accuracy; there are 800"):
        calibrated_by_kind(apart, written, 0.001)
