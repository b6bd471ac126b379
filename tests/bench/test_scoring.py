"""Is an answer right?  Tables of answers and golds, the strange ones included."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bench.scoring import SCORERS, exact, numeric, regex, scorer_of
from orchestrator.errors import UnknownName
from orchestrator.types import Message, Task


def task(gold: str | None) -> Task:
    return Task(messages=(Message("user", "?"),), answer=gold)


@pytest.mark.parametrize(
    "answer, gold, is_right",
    [
        ("42", "42", True),
        (" 42\n", "42", True),
        ("42.0", "42", True),
        ("1,200", "1200", True),
        ("-0", "0", True),
        ("+7", "7", True),
        ("Paris", "Paris", True),
        ("paris", "Paris", False),
        ("42 apples", "42", False),
        ("41", "42", False),
        ("-42", "42", False),
        ("", "42", False),
        (None, "42", False),
    ],
)
def test_exact(answer: str | None, gold: str, is_right: bool) -> None:
    assert exact(task(gold), answer) == is_right


@pytest.mark.parametrize(
    "answer, gold, is_right",
    [
        ("42", "42", True),
        ("The answer is 42.", "42", True),
        ("$1,234.50", "1234.5", True),
        ("1,234,567", "1234567", True),
        ("18", "She makes 9 * 2 = 18", True),
        ("first 3, then 5", "5", True),
        ("3,4", "34", False),
        ("3,4", "4", True),
        ("-5", "-5", True),
        ("-5", "5", False),
        ("\u22125", "-5", True),
        ("+5", "5", True),
        ("10-3", "3", True),
        ("= -3", "-3", True),
        (".5", "1/2", True),
        ("-.5", "-1/2", True),
        ("1/3", "0.333333333", True),
        ("1/3", "0.333", False),
        ("1/0", "1", False),
        ("1", "1/0", False),
        ("1e3", "1000", True),
        ("2.5E-1", "1/4", True),
        ("1000000.5", "1000000", True),
        ("1000002", "1000000", False),
        ("0.0000001", "0", False),
        ("0", "0", True),
        ("٤٢", "42", True),
        ("x" * 100_000, "42", False),
        ("9" * 100_000, "42", False),
        ("1e999999999", "42", False),
        ("1," * 50_000, "42", False),
        ("", "42", False),
        (None, "42", False),
        ("42", "none", False),
        ("none", "none", False),
    ],
)
def test_numeric(answer: str | None, gold: str, is_right: bool) -> None:
    assert numeric(task(gold), answer) == is_right


@pytest.mark.parametrize(
    "answer, gold, is_right",
    [
        ("42", r"\d+", True),
        (" 42 ", r"\d+", True),
        ("42 apples", r"\d+", False),
        ("Yes", "(?i)yes|no", True),
        ("yesno", "(?i)yes|no", False),
        (None, r"\d*", False),
        ("", r"\d+", False),
    ],
)
def test_regex(answer: str | None, gold: str, is_right: bool) -> None:
    assert regex(task(gold), answer) == is_right


def test_a_gold_that_is_no_expression_is_said_to_be_none() -> None:
    with pytest.raises(re.error):
        regex(task("("), "42")


@pytest.mark.parametrize("name", SCORERS)
def test_an_answer_to_a_task_without_gold_is_never_right(name: str) -> None:
    for answer in (None, "", " ", "42"):
        assert SCORERS[name](task(None), answer) == 0


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_texts_are_right_or_wrong(answer: str, gold: str) -> None:
    assert numeric(task(gold), answer) in (0, 1)
    assert exact(task(gold), answer) in (0, 1)


@given(st.fractions())
def test_a_number_is_itself_as_a_fraction(number: object) -> None:
    assert numeric(task(str(number)), f"It is {number}") == 1


def test_scorers_go_by_name() -> None:
    assert scorer_of("numeric") is numeric
    with pytest.raises(
        UnknownName, match=r"no scorer named 'fuzzy'; known: exact, numeric, regex, or file.py:function"
    ):
        scorer_of("fuzzy")
