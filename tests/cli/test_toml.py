"""Whatever tables are written as TOML, they are the same tables when they are read."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.toml import lines

text = st.text(st.characters(exclude_categories=["Cs"]))  # a lone surrogate is no text that a file can hold
plain = st.one_of(text, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
values = st.recursive(plain, lambda each: st.lists(each) | st.dictionaries(text, each), max_leaves=20)


@given(st.dictionaries(text, values))
def test_tables_come_back_as_they_were(tables: dict[str, Any]) -> None:
    assert tomllib.loads("\n".join(lines(tables))) == tables


@given(text, text, st.dictionaries(text, values))
def test_so_do_those_at_a_path(first: str, second: str, tables: dict[str, Any]) -> None:
    assert tomllib.loads("\n".join(lines(tables, (first, second)))).get(first, {}).get(second, {}) == tables


def test_not_a_number_comes_back_as_well() -> None:
    (found,) = tomllib.loads("\n".join(lines({"a": float("nan")}))).values()
    assert found != found


@pytest.mark.parametrize(
    ("name", "head"), [("large", "[a.large]"), ("qwen 2.5", '[a."qwen 2.5"]'), ("", '[a.""]'), ("é", '[a."é"]')]
)
def test_only_keys_that_have_to_be_are_quoted(name: str, head: str) -> None:
    assert lines({"key": "𝄞"}, ("a", name)) == ["", head, 'key = "𝄞"']


def test_a_list_of_tables_has_a_head_for_each_and_an_empty_one_is_a_value() -> None:
    two = [{"name": "stuck", "repeats": 2}, {"name": "every", "in": {"a": 1}}]
    assert lines({"monitors": two, "none": []}) == [
        "none = []",
        "",
        "[[monitors]]",
        'name = "stuck"',
        "repeats = 2",
        "",
        "[[monitors]]",
        'name = "every"',
        "",
        "[monitors.in]",
        "a = 1",
    ]
