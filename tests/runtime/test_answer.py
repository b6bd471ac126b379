"""Finding the answer, and admitting that there is none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UnknownName, UserError
from orchestrator.runtime.answer import after_think, boxed, extractor, marked


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{unfinished", "1"),
        (r"\boxed{}", None),
        (r"\boxed{ }", None),
        ("no box", None),
        ("", None),
        (r"\boxed{{}", None),
    ],
)
def test_the_last_complete_box_counts(text: str, answer: str | None) -> None:
    assert boxed(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Answer: 7", "7"),
        ("**Final answer:** 7 apples\nmore", "7 apples"),
        ("ANSWER: 7\nanswer: 8", "8"),
        ("work\n#### 1,234", "1,234"),
        ("the answer is 7", None),
        ("Answer:", None),
        ("Answer: 3\nAnswer: ", "3"),
    ],
)
def test_the_last_marked_line_counts(text: str, answer: str | None) -> None:
    assert marked(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"), [("<think>x</think>\n\n7", "7"), ("</think>", None), ("7", None), ("a</think>b</think> c", "c")]
)
def test_what_follows_the_closed_reasoning_counts(text: str, answer: str | None) -> None:
    assert after_think(text) == answer


def test_extractors_are_tried_in_order_and_may_be_patterns_or_functions() -> None:
    find = extractor(["boxed", r"regex:=\s*(\d+)", lambda text: text[:1] or None])
    assert find(r"= 5 \boxed{6}") == "6"
    assert find("1 = 5, 2 = 7") == "7"
    assert find("none") == "n"
    assert find("") is None
    assert extractor(r"regex:\d+")("a1b22") == "22"


def test_an_unknown_extractor_and_a_broken_pattern_are_named() -> None:
    with pytest.raises(UnknownName, match="'box'; known: boxed, marked, after_think"):
        extractor("box")
    with pytest.raises(UserError, match="no regular expression"):
        extractor("regex:(")


@given(st.text())
def test_no_text_makes_an_extractor_fail(text: str) -> None:
    for find in (boxed, marked, after_think):
        answer = find(text)
        assert answer is None or answer.strip()


def test_a_model_that_loops_on_open_boxes_does_not_hold_the_loop_up() -> None:
    started = time.process_time()
    assert boxed("\\boxed{" * 30_000) is None
    assert boxed("\\boxed{{ } " * 30_000) is None
    assert boxed("\\boxed{a{b}c} \\boxed{" * 3) == "a{b}c"
    assert time.process_time() - started < 2


def test_no_extractor_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="give at least one"):
        extractor([])
