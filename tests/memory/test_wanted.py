"""What people search for: what counts as a word, and where a text holds it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import UserError
from orchestrator.memory.wanted import MAX_WORDS, Wanted, indexed

LETTERS = st.text(st.sampled_from("aB1é\u0301İß４ﬁ㈠中の\x00\ud800\U0001f600_*\"' -(.\n"), max_size=12)


@pytest.mark.parametrize(
    ("typed", "text", "marked"),
    [
        ("carry one", "One must CARRY", ["One", "CARRY"]),
        ("carry two", "One must carry", []),
        ('"carry the one"', "carry the\n\none", ["carry the\n\none"]),
        ('"carry one"', "carry the one", []),
        ('"carry the', "so carry, the end", ["carry, the"]),
        ("98*6", "98*6=588", ["98*6"]),
        ("98*6", "6*98", []),
        (r"\boxed{42}", r"is \boxed{42}.", ["boxed{42"]),
        ("car", "carry", []),
        ("car*", "carry on", ["carry"]),
        ('"the car*"', "the carriage", ["the carriage"]),
        ("c*", "carry", []),
        ("c*", "b*c", ["c"]),
        ("résumé", "RESUME", ["RESUME"]),
        ("resume", "re\u0301sume\u0301", ["re\u0301sume\u0301"]),
        ("straße", "STRASSE", ["STRASSE"]),
        ("42", "４２", ["４２"]),
        ("心", "中心を", ["心"]),
        ("中心", "心中", []),
        ("NOT AND", "and not", ["and", "not"]),
        ("text:a OR", "text a", []),
        ("x_1", "x_1", ["x_1"]),
        ("a\x00b", "a\x00b", ["a\x00b"]),
        ("a a", "a b a", ["a", "a"]),
    ],
)
def test_a_search_marks_what_it_means(typed: str, text: str, marked: list[str]) -> None:
    assert [text[start:end] for start, end in Wanted.of(typed).marks(text)] == marked


@pytest.mark.parametrize("typed", ["", " ", '""', "+*/", "\x00", "\U0001f600", "\ud800", '"' * 1_000_001, "(" * 10**6])
def test_what_holds_no_word_is_refused_in_one_short_line(typed: str) -> None:
    with pytest.raises(UserError, match="nothing to search for in") as refused:
        Wanted.of(typed)
    assert len(str(refused.value)) < 150


def test_as_many_words_as_are_taken_are_taken_and_no_more() -> None:
    assert Wanted.of("a " * MAX_WORDS).marks("a")
    for typed in ("a " * (MAX_WORDS + 1), "a-" * (MAX_WORDS + 1), '"' + "a " * 500_000):
        with pytest.raises(UserError, match="up to 64 words"):
            Wanted.of(typed)


@settings(max_examples=150, deadline=None)
@given(LETTERS, LETTERS)
def test_the_index_finds_what_the_marks_are_in(typed: str, text: str) -> None:
    try:
        wanted = Wanted.of(typed)
    except UserError:
        return
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5 (text, content = '', tokenize = 'ascii')")
        connection.execute("INSERT INTO words (text) VALUES (?)", (indexed(text),))
        found = connection.execute("SELECT 1 FROM words WHERE words MATCH ?", (wanted.expression(),)).fetchall()
    assert bool(found) == bool(wanted.marks(text))


@settings(max_examples=50, deadline=None)
@given(LETTERS)
def test_a_text_is_found_by_itself(text: str) -> None:
    try:
        wanted = Wanted.of('"' + text.replace('"', " ") + '"')
    except UserError:
        return
    assert wanted.marks(text)
