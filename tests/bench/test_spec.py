"""A name with options in one word: what is read, what is swept, and every way to get it wrong."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.bench.spec import COMMA, MOST, outside, parse, parts, swept, value_of
from orchestrator.errors import UserError


@pytest.mark.parametrize(
    "text, name, options",
    [
        ("small", "small", {}),
        ("specreason:threshold=7", "specreason", {"threshold": "7"}),
        ("random:large_share=0.1..0.9/0.2:seed=1|2", "random", {"large_share": "0.1..0.9/0.2", "seed": "1|2"}),
        ("jsonl:scorer=my.py:right", "jsonl", {"scorer": "my.py:right"}),
        ("jsonl:scorer=a:b:c:path=x", "jsonl", {"scorer": "a:b:c", "path": "x"}),
        ("a:key=", "a", {"key": ""}),
        ("a:key=b=c", "a", {"key": "b=c"}),
    ],
)
def test_a_name_and_its_options_are_taken_apart(text: str, name: str, options: dict[str, str]) -> None:
    assert parse(text) == (name, options)


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "has no name"),
        (":threshold=7", "has no name"),
        ("specreason:7", "'7' is no option: write it like specreason:key=value"),
        ("specreason:", "'' is no option"),
        ("specreason:=7", "'=7' is no option"),
        ("specreason:threshold=7:threshold=8", "gives threshold twice"),
    ],
)
def test_what_is_no_option_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse(text)


@pytest.mark.parametrize(
    "text, value",
    [
        ("7", 7),
        ("0.5", 0.5),
        ("true", True),
        ("average", "average"),
        ('"7"', "7"),
        ("", ""),
        ("chain_sum", "chain_sum"),
    ],
)
def test_a_value_is_a_number_a_truth_value_or_text(text: str, value: Any) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


@pytest.mark.parametrize(
    "text, values",
    [
        ("3..9", [3, 4, 5, 6, 7, 8, 9]),
        ("5..5", [5]),
        ("0.1..0.9/0.2", [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("0..1/0.25", [0, 0.25, 0.5, 0.75, 1]),
        ("0..10/4", [0, 4, 8]),
        ("-1..1", [-1, 0, 1]),
        ("greedy|average", ["greedy", "average"]),
        ("1|2.5|true", [1, 2.5, True]),
        ("7", [7]),
    ],
)
def test_a_sweep_has_these_values(text: str, values: list[Any]) -> None:
    assert [setting["key"] for setting in swept({"key": text})] == values


def test_several_sweeps_are_crossed_the_last_one_fastest() -> None:
    settings = list(swept({"a": "1..2", "b": "x|y", "c": "9"}))
    assert settings == [
        {"a": 1, "b": "x", "c": 9},
        {"a": 1, "b": "y", "c": 9},
        {"a": 2, "b": "x", "c": 9},
        {"a": 2, "b": "y", "c": 9},
    ]


def test_no_options_are_one_setting() -> None:
    assert list(swept({})) == [{}]


@pytest.mark.parametrize(
    "text, said",
    [
        ("a..b", "write a range like"),
        ("..9", "write a range like"),
        ("3..", "write a range like"),
        ("3..9/x", "write a range like"),
        ("nan..3", "write a range like"),
        ("0..inf", "write a range like"),
        ("9..3", "goes up"),
        ("3..9/0", "goes up"),
        ("3..9/-1", "goes up"),
        ("0..1/0.001", f"more than {MOST}"),
        ("0..1e999999", f"more than {MOST}"),
    ],
)
def test_a_range_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=f"key=.*{said}"):
        list(swept({"key": text}))


def test_a_sweep_has_at_most_so_many_settings() -> None:
    assert len(list(swept({"a": "1..20", "b": "1..10"}))) == MOST
    with pytest.raises(UserError, match="210 settings in one sweep are more than 200"):
        list(swept({"a": "1..21", "b": "1..10"}))


@pytest.mark.parametrize(
    "text, found",
    [
        ("cascade", ["cascade"]),
        ("cascade:turns=2+stuck+milestone:every=3", ["cascade:turns=2", "stuck", "milestone:every=3"]),
        ("large+mode=auto(agreement,threshold=0.8)", ["large", "mode=auto(agreement,threshold=0.8)"]),
        ("rsd:threshold=1e+5+stuck", ["rsd:threshold=1e+5", "stuck"]),
        ('cascade:others={drift="turns+stuck"}+drift', ['cascade:others={drift="turns+stuck"}', "drift"]),
        ("a+", ["a+"]),
        ("a++b", ["a+", "b"]),
        ("a)+b", ["a)", "b"]),
        ("", [""]),
    ],
)
def test_parts_are_joined_by_plus_outside_of_brackets(text: str, found: list[str]) -> None:
    assert parts(text) == found


def test_a_comma_or_a_bar_in_brackets_ends_nothing() -> None:
    line = "large+mode=auto(self,threshold=0.8),cascade:others={a=1,b=2},small"
    assert outside(COMMA, line) == ["large+mode=auto(self,threshold=0.8)", "cascade:others={a=1,b=2}", "small"]
    assert list(swept({"subgoals": '["regex:(a|b)"]', "every": "1|2"})) == [
        {"subgoals": ["regex:(a|b)"], "every": every} for every in (1, 2)
    ]
