"""What of a text is thought."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.think_tags import leaves_open, said


@pytest.mark.parametrize(
    ("text", "is_open", "behind"),
    [
        ("", None, ""),
        ("think> <think", None, "think> <think"),
        ("<think>a", True, "<think>a"),
        ("<think>a</think>b", False, "b"),
        ("a</think>b<think>c", True, "b<think>c"),
        ("a</think>", False, ""),
        ("<think></think></think>x", False, "x"),
    ],
)
def test_the_last_tag_tells(text: str, is_open: bool | None, behind: str) -> None:
    assert (leaves_open(text), said(text)) == (is_open, behind)


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", "think>", "<"])))
def test_every_tag_is_the_last_one_until_the_next(pieces: list[str]) -> None:
    tags = [piece for piece in pieces if piece in ("<think>", "</think>")]
    assert leaves_open(" ".join(pieces)) is (tags[-1] == "<think>" if tags else None)
