"""What is read in texts, whatever the texts are."""

from __future__ import annotations

from fractions import Fraction
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.monitors.reading import (
    alike,
    claims_in,
    figures,
    mentioned,
    number,
    repeated_phrase,
    rights_of,
    spaced,
    words,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("38*4 = 152", [("38*4", "152", True)]),
        ("38 × 4 = 1,520. Then 3-2=1", [("38*4", "1520", False), ("3-2", "1", True)]),
        ("1.5/3=0.5 and 1/0=0", [("1.5/3", "0.5", True), ("1/0", "0", False)]),
        ("2+3*4=14, 2 + 3*4 = 14, x3*4=12", []),
        ("3*4=12+1, 3*4=x", []),
        ("1.2.3+1=2 and 5-8=-3", [("1.2.3+1", "2", False), ("5-8", "-3", True)]),
        ("9" * 50 + "+1=2", [("9" * 50 + "+1", "2", False)]),
        ("", []),
    ],
)
def test_equations_of_two_numbers_are_claims(text: str, expected: list[tuple[str, str, bool]]) -> None:
    assert claims_in(text) == expected


@given(st.text(st.sampled_from("aB9 ,'\n\x85\xa0\u2003\u3000")), st.text(st.characters(), max_size=9))
@settings(max_examples=50)
def test_a_word_stands_between_spaces_if_and_only_if_it_is_one_of_the_words(text: str, more: str) -> None:
    found = words(text + more)
    assert all(f" {word} " in spaced(text + more) for word in found)
    assert (" a " in spaced(text + more)) == ("a" in found)


def test_the_right_sides_of_a_left_side_are_found_in_order() -> None:
    text = "38*4 = 162. No, 38 * 4 = 152, while 138*4=552 and 38*40 = 1520 and 38*4=162"
    assert rights_of("38*4", text) == ["162", "152", "162"]
    assert rights_of("7*4", text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.50", Fraction(2469, 2)),
        ("-3/4", Fraction(-3, 4)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        ("$5", Fraction(5)),
        ("50%", Fraction(50)),
        ("42 pens", Fraction(42)),
        ("3 of 42", None),
        ("1/0", None),
        ("x", None),
        ("", None),
        ("9" * 100_000, None),
        ("٣٤", Fraction(34)),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, expected: Fraction | None) -> None:
    assert number(text) == expected


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    claims_in(text)
    number(text)
    figures(text)
    repeated_phrase(text, times=2, length=2)
    assert alike(text, text) == 1
    assert mentioned(words(text), text) == len(set(words(text)))


def test_likeness_is_that_of_neighbouring_words() -> None:
    assert alike("a b c d", "a b c d") == alike("A b, c d.", "a b c d") == 1
    assert alike("a b c d", "a b c e") == 3 / 5
    assert alike("a b", "b a") == 0
    assert alike("", "") == 1 and alike("", "a") == 0


def test_a_phrase_counts_where_the_text_ends_in_it() -> None:
    loop = "one two three four five six seven eight nine ten eleven twelve "
    assert repeated_phrase(loop * 4, times=4) == (loop.strip(), 4)
    assert repeated_phrase("it began well " + loop * 4, times=4) == (loop.strip(), 4)
    assert repeated_phrase(loop * 3, times=4) == ("", 0)
    assert repeated_phrase(loop * 4 + " ".join(f"w{n}" for n in range(99)), times=4) == ("", 0)


def test_hostile_texts_take_linear_time() -> None:
    for part in ("1", "1+", "1 +  ", ". ", "{", "=", "a ", "no, ", "1.1"):
        began = process_time()
        text = part * (50_000 // len(part))
        claims_in(text[-4_000:])
        repeated_phrase(text, times=4)
        number(text)
        alike(text, text[1:])
        assert process_time() - began < 0.5, part
