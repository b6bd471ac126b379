"""Nothing a stranger writes can disturb a terminal or hide from its reader."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.visible import first_words, visible

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("line\n\tnext", "line\n\tnext"),
        ("\x1b[2J\x07\x00\x7f", "\\x1b[2J\\x07\\x00\\x7f"),
        ("a\rb", "a\\rb"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("broken \udcff", "broken \\udcff"),
        ("\u2028", "\\u2028"),
        ("naïve 你好\u3000世界 🙂 👩\u200d🔬", "naïve 你好\u3000世界 🙂 👩\u200d🔬"),
    ],
)
def test_what_could_do_harm_is_spelled_out_and_the_rest_stays(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANY_TEXT)
def test_no_control_character_and_no_surrogate_gets_through(text: str) -> None:
    shown = visible(text)
    shown.encode()
    kept = {letter for letter in shown if unicodedata.category(letter).startswith(("C", "Zl", "Zp"))}
    assert kept <= {"\n", "\t", "\u200c", "\u200d"}


@given(ANY_TEXT, st.integers(1, 60))
def test_first_words_are_one_line_that_fits(text: str, limit: int) -> None:
    words = first_words(text, limit)
    assert len(words) <= limit
    assert "\n" not in words and "\t" not in words


def test_first_words_show_that_something_was_cut() -> None:
    assert first_words("  one\n\n two three", 9) == "one two …"
    assert first_words("one two", 7) == "one two"
