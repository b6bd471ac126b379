"""The exact verifier: right steps pass, every kind of wrong one is named."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bench.workloads.verify import (
    Unreadable,
    evaluate,
    find_answer,
    state_after,
    verify_step,
    verify_thought,
)


@pytest.mark.parametrize(
    "text, value",
    [
        ("1+2*3", 7),
        ("(1+2)*3", 9),
        ("8-3-2", 3),
        ("8/4/2", 1),
        ("2--1", 3),
        ("-15---12", -27),
        ("-(3-8)*2", 10),
        (" 7 * -3 ", -21),
        ("1/3", Fraction(1, 3)),
    ],
)
def test_precedence_and_signs(text: str, value: object) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize("text", ["", "1+", "1/0", "(1", "1)", "2**3", "abc", "1.5", "(" * 9000 + "1" + ")" * 9000])
def test_what_is_no_expression_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        evaluate(text)


@given(st.text(max_size=80))
def test_any_text_is_either_a_number_or_unreadable(text: str) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(evaluate(text), Fraction)


@given(st.one_of(st.none(), st.text(max_size=40)), st.text(max_size=60), st.text(max_size=40))
def test_the_verifier_never_raises(before: str | None, step: str, problem: str) -> None:
    assert 0 <= verify_step(before, step, problem).rating <= 9


PROBLEM = "(12+47)*6-5"


@pytest.mark.parametrize(
    "before, step, fault",
    [
        (None, "(12+47)*6-5", None),
        (None, "(12+47)*6-6", "copy"),
        (None, "hello", "malformed"),
        (PROBLEM, "12+47=59\n59*6-5", None),
        (PROBLEM, "12+47=59\n(59)*6-5", None),
        (PROBLEM, "12+47=58\n58*6-5", "slip"),
        (PROBLEM, "12+47=509\n509*6-5", "result"),
        (PROBLEM, "12+47=59\n59*6-4", "copy"),
        (PROBLEM, "12+47=59\n59*6", "copy"),
        (PROBLEM, "47*6=282\n(12+282)-5", "order"),
        (PROBLEM, "6-5=1\n(12+47)*1", "order"),
        (PROBLEM, "12+47=59", "malformed"),
        (PROBLEM, "12+47=60-1\n(60-1)*6-5", "malformed"),
        (PROBLEM, "", "malformed"),
        ("4--5", "--5=5\n4-5", "order"),
        ("4---5", "--5=5\n4-5", None),
        ("38*14+1", "38*14=(38*10+38*4)\n(38*10+38*4)+1", None),
        ("38*14+1", "38*14=(38*10+38*5)\n(38*10+38*5)+1", "result"),
        ("38*14+1", "38*14=(30*14+8*14)\n(30*14+8*14)+1", "malformed"),
        ("349", "Wait, let me check.\n(12+47)*6-5", None),
        ("349", "Wait, let me check.\n(12+47)*6-6", "copy"),
        ("349", "Wait, 354-5=349\n349", None),
        ("349", "Wait, 354-5=348\n349", "slip"),
        ("349", "Wait, is it right? Yes.\n349", None),
    ],
)
def test_each_fault_is_named(before: str | None, step: str, fault: str | None) -> None:
    assert verify_step(before, step, PROBLEM).fault == fault


def test_a_step_is_judged_by_the_state_it_continues_even_if_that_is_wrong() -> None:
    steps = ["(12+47)*6-5", "12+47=58\n58*6-5", "58*6=348\n348-5", "348-5=343\n343"]
    assert [verdict.fault for verdict in verify_thought(steps, PROBLEM)] == [None, "slip", None, None]


def test_the_state_is_the_last_line() -> None:
    assert state_after("12+47=59\n59*6-5\n\n") == "59*6-5"


def test_the_last_boxed_answer_counts() -> None:
    assert find_answer("\\boxed{1} and \\boxed{ -2 }") == "-2"
    assert find_answer("nothing") is None
