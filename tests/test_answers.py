"""Two answers are the same one, or they are not: one rule for whoever counts answers that agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.answers import plain


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("42", " 42. ", True),
        ("$1,024$", "1024", True),
        ("Yes", "yes", True),
        ("a + b", "a+b", True),
        ("", " . ", True),
        ("x, y", "xy", False),
        ("{1,200}", "{1200}", False),
        ("4", "42", False),
        ("-4", "4", False),
        ("42", "42.0", False),
    ],
)
def test_answers_that_differ_in_dress_only_are_the_same(one: str, other: str, is_same: bool) -> None:
    assert (plain(one) == plain(other)) == is_same


@settings(max_examples=50)
@given(st.text())
def test_a_plain_answer_is_plain_in_spaces_and_case(text: str) -> None:
    assert plain(plain(text)) == plain(f"  {text} ") == plain(text)
