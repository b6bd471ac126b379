"""Calls in what engines write: read strictly, and never an exception."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.bench.workloads import tool_tasks
from orchestrator.errors import UnknownName
from orchestrator.tools.base import Called
from orchestrator.tools.calls import MAX_CALLS, MAX_CHARS, calls_in, closers, has_call, is_open, native, written
from orchestrator.tools.formats import FORMATS
from orchestrator.tools.function import Function, tool


@tool
def calc(expression: str) -> str:
    return expression


@tool
def convert(amount: str, unit: str) -> str:
    return amount + unit


@tool
def plot(
    x: int, y: float = 0.0, label: str | None = None, is_big: bool = False, points: list[int] | None = None
) -> str:
    return ""


@tool
def pick(what: Literal["a", 1]) -> str:
    return str(what)


@tool
def anything(value: Any = None, other: dict[str, Any] | None = None) -> str:
    return ""


ITEMS = Function(lambda: "", name="list")
TOOLS = (calc, convert, plot, pick, anything, ITEMS)


def plain(inside: str) -> Called:
    [called] = calls_in(f"<tool>{inside}</tool>", TOOLS, "plain")
    return called


@pytest.mark.parametrize(
    ("inside", "name", "arguments"),
    [
        ("calc(3*(4+5))", "calc", {"expression": "3*(4+5)"}),
        ("calc( 3, 4 )", "calc", {"expression": "3, 4"}),
        (' calc ("3 + 4") ', "calc", {"expression": "3 + 4"}),
        ("calc(expression=3)", "calc", {"expression": "3"}),
        ("calc(expression='(')", "calc", {"expression": "("}),
        ("calc(expression = 3\nprint(expression))", "calc", {"expression": "expression = 3\nprint(expression)"}),
        ("calc(expression='3\n4')", "calc", {"expression": "3\n4"}),
        ("calc(other=3)", "calc", {"expression": "other=3"}),
        ("calc(expression==3)", "calc", {"expression": "expression==3"}),
        ('calc("a" + "b")', "calc", {"expression": '"a" + "b"'}),
        (r'calc("a\n\"\u00e9\q\ud83d\ude00")', "calc", {"expression": 'a\n"é\\q😀'}),
        ("calc(a)b)", "calc", {"expression": "a)b"}),
        ("list()", "list", {}),
        ("list( )", "list", {}),
        ("convert(3 km, m)", "convert", {"amount": "3 km", "unit": "m"}),
        ("convert(unit = m, amount=3 km)", "convert", {"amount": "3 km", "unit": "m"}),
        ("convert('3, 4', f(a, b))", "convert", {"amount": "3, 4", "unit": "f(a, b)"}),
        ("convert(it's, 5)", "convert", {"amount": "it's", "unit": "5"}),
        ("plot(3)", "plot", {"x": 3}),
        (
            "plot(3, 4.5, null, true, [1, 2])",
            "plot",
            {"x": 3, "y": 4.5, "label": None, "is_big": True, "points": [1, 2]},
        ),
        ("plot(3, label='null', is_big=False)", "plot", {"x": 3, "label": "null", "is_big": False}),
        ("plot(3, label=5)", "plot", {"x": 3, "label": "5"}),
        ("pick(1)", "pick", {"what": 1}),
        ("pick(a)", "pick", {"what": "a"}),
        ('anything({"a": [1, {"b": ","}]})', "anything", {"value": {"a": [1, {"b": ","}]}}),
        ("anything(a b)", "anything", {"value": "a b"}),
    ],
)
def test_a_plain_call_is_read_by_the_tools_schema(inside: str, name: str, arguments: dict[str, Any]) -> None:
    assert plain(inside) == Called(name, arguments)


@pytest.mark.parametrize(
    ("inside", "name", "error"),
    [
        ("", "", "the call must be written name(arguments)"),
        ("calc", "", "the call must be written name(arguments)"),
        ("calc(3", "", "the call must be written name(arguments)"),
        ("calc(3) now", "", "the call must be written name(arguments)"),
        ("3(4)", "", "the call must be written name(arguments)"),
        ("<tool>calc(1)", "", "the call must be written name(arguments)"),
        ("calk(3)", "calk", "there is no tool 'calk'; there are: anything, calc, convert, list, pick, plot"),
        ("calc()", "calc", "calc: expression: Field required"),
        ("list(all)", "list", "list takes 0 arguments: none"),
        ("list(a=1)", "list", "list: there is no parameter a; there are: none"),
        ("convert(3 km)", "convert", "convert: unit: Field required"),
        ("convert(3, km, m)", "convert", "convert takes 2 arguments: amount, unit"),
        ("convert(amont=3, unit=m)", "convert", "convert: there is no parameter amont; there are: amount, unit"),
        ("convert(3, amount=4)", "convert", "convert: amount is given twice"),
        ("convert((3, m)", "convert", "a ) is missing in the arguments"),
        ("plot(three)", "plot", "plot: x: Input should be a valid integer"),
        ("plot('3')", "plot", "plot: x: Input should be a valid integer"),
        ("plot(3.0)", "plot", "plot: x: Input should be a valid integer"),
        ("plot(3, NaN)", "plot", "plot: y: Input should be a valid number"),
        ("plot(3, 1e999)", "plot", "plot: the arguments cannot be read: ValueError"),
        ("plot(" + "9" * 5000 + ")", "plot", "plot: x: Input should be a valid integer"),
        ("anything(" + "[" * 9000 + "]" * 9000 + ")", "anything", ""),
        ("calc(" + "9" * MAX_CHARS + ")", "", f"the call is longer than {MAX_CHARS} characters"),
    ],
)
def test_a_plain_call_that_cannot_be_made_says_why(inside: str, name: str, error: str) -> None:
    called = plain(inside)
    assert (called.name, called.error) == (name, error)
    assert not called.arguments or not called.error


def as_hermes(inside: str) -> str:
    return f"<tool_call>\n{inside}\n</tool_call>"


@pytest.mark.parametrize(
    ("inside", "name", "outcome"),
    [
        ('{"name": "calc", "arguments": {"expression": "1"}}', "calc", {"expression": "1"}),
        ('{"arguments": "{\\"x\\": 3}", "name": "plot"}', "plot", {"x": 3}),
        ('{"name": "list", "arguments": {}}', "list", {}),
        ("", "", "the call is not JSON that can be read: "),
        ("calc(1)", "", "the call is not JSON that can be read: "),
        ("[1]", "", "the call must be one JSON object"),
        ('{"name": "calc"', "", "the call is not JSON that can be read: "),
        ('{"name": "calc", "arguments": {"expression": "1"}} done', "", "the call is not JSON that can be read: Extra"),
        (
            '{"name": "calc", "name": "list", "arguments": {}}',
            "",
            "the call is not JSON that can be read: name is there",
        ),
        ('{"name": "plot", "arguments": {"x": NaN}}', "", "the call is not JSON that can be read: NaN is no number"),
        ('{"name": "plot", "arguments": {"x": 1, "x": 2}}', "", "the call is not JSON that can be read: x is there"),
        ('{"name": "plot", "arguments": "x"}', "plot", "the call is not JSON that can be read: "),
        ('{"name": "plot", "arguments": "[3]"}', "plot", "the call must be one JSON object"),
        ('{"name": "plot", "arguments": [3]}', "plot", "plot: the arguments must be a JSON object"),
        ('{"name": "plot", "arguments": null}', "plot", "plot: the arguments must be a JSON object"),
        ('{"name": "plot"}', "", 'the call must have a "name" and "arguments"'),
        ('{"name": 3, "arguments": {}}', "", 'the call must have a "name" and "arguments"'),
        ('{"arguments": {}}', "", 'the call must have a "name" and "arguments"'),
        ('{"name": "plot", "arguments": {}, "id": 3}', "", 'the call has \'id\'; only "name" and "arguments" belong'),
        ('{"name": "plot", "arguments": {"x": "3"}}', "plot", "plot: x: Input should be a valid integer"),
        ('{"name": "plot", "arguments": {"x": 3, "z": 3}}', "plot", "plot: z: Extra inputs are not permitted"),
        ('{"name": "calc", "arguments": {"expression": "\\ud800"}}', "calc", "calc: Invalid JSON: "),
        ('{"name": "\\u001b[2J", "arguments": {}}', r"\x1b[2J", "there is no tool "),
        ('{"a":' * 9000 + "1" + "}" * 9000, "", "the call is not JSON that can be read: maximum recursion"),
    ],
)
def test_a_hermes_call_is_read_strictly(inside: str, name: str, outcome: dict[str, Any] | str) -> None:
    [called] = calls_in(as_hermes(inside), TOOLS, "hermes")
    assert called.name == name
    assert called.error.isprintable()
    if isinstance(outcome, str):
        assert called.error.startswith(outcome) and not called.arguments
    else:
        assert (called.arguments, called.error) == (outcome, "")


@pytest.mark.parametrize(
    ("turn", "error"),
    [
        ('{"name": "plot", "parameters": {"x": 3}}', ""),
        (' <|python_tag|>{"name": "plot", "parameters": {"x": 3}}\n', ""),
        ('</think>\n{"arguments": {"x": 3}, "name": "plot"}', ""),
        ('{"name": "plot", "parameters": {"x": 3}} and so', "the call is not JSON that can be read: Extra data"),
        ('{"name": "plot", "parameters": {"x": 3}', "the call is not JSON that can be read: "),
        ('{"name": "plot", "parameters": {}, "arguments": {}}', 'the call must have a "name" and "parameters"'),
        ("<|python_tag|>print(1)", "the call is not JSON that can be read: "),
    ],
)
def test_a_turn_that_is_a_json_call_is_read_strictly(turn: str, error: str) -> None:
    [called] = calls_in(turn, TOOLS, "json")
    assert called.error.startswith(error) and bool(called.error) == bool(error)
    assert called.error or called == Called("plot", {"x": 3})


@pytest.mark.parametrize(
    "turn", ["", "{1, 2}", '{"name": "Bob"}', '{"x": 1}', "[]", 'So {"name": "plot", "parameters": {}}']
)
def test_a_turn_that_is_an_answer_in_braces_is_no_json_call(turn: str) -> None:
    assert calls_in(turn, TOOLS, "json") == [] and not has_call(turn, "json")


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        ('{"x": 3}', Called("plot", {"x": 3})),
        ('{"x": "</tool_call></think>"}', Called("plot", {}, "plot: x: Input should be a valid integer")),
        ("[3]", Called("plot", {}, "the call must be one JSON object")),
        ("", Called("plot", {}, "the call is not JSON that can be read: Expecting value: line 1 column 1 (char 0)")),
    ],
)
def test_a_call_that_a_chat_api_gave_apart_is_read_as_strictly(arguments: str, outcome: Called) -> None:
    assert calls_in("Hm.\n" + native("plot", arguments), TOOLS, "hermes") == [outcome]


CALL = "<tool>calc(1)</tool>"


@pytest.mark.parametrize(
    ("text", "num"),
    [
        ("", 0),
        ("calc(1)", 0),
        (CALL, 1),
        (f"First. {CALL} Then.{CALL}", 2),
        (f"<think>{CALL}</think>", 0),
        (f"<think>{CALL}</think>{CALL}", 1),
        (f"{CALL}</think>", 0),
        (f"<think>{CALL}", 0),
        (f"{CALL}<think>{CALL}", 1),
        (f"a</think>b</think>{CALL}", 1),
        (f"So:\n```\n{CALL}\n```\n", 0),
        (f"So:\n```\n{CALL}\n```\n{CALL}", 1),
        (f"So:\n```\n{CALL}", 0),
        (f"~~~~\n{CALL}\n~~~\n{CALL}", 0),
        (f"a ``` b {CALL}", 1),
        ("<tool>calc(\n```\n)</tool>" + CALL, 2),
        ("<TOOL>calc(1)</TOOL>", 0),
        (f"</tool>{CALL}", 1),
    ],
)
def test_a_call_counts_where_it_is_neither_thought_about_nor_quoted(text: str, num: int) -> None:
    assert len(calls_in(text, TOOLS, "plain")) == num
    assert has_call(text, ("plain", "hermes")) is (num > 0)


@pytest.mark.parametrize(
    ("text", "is_it"),
    [
        ("", False),
        (CALL, False),
        (f"{CALL}<tool>", True),
        ("<tool>calc(1)", True),
        ("<tool>calc(1)</tool", True),
        ("<think><tool>calc(1", False),
        ("```\n<tool>calc(1", False),
        ("<tool_call>{", True),
    ],
)
def test_a_call_that_is_not_closed_is_open_and_malformed(text: str, is_it: bool) -> None:
    assert is_open(text, ("plain", "hermes")) is is_it
    errors = [called.error for called in calls_in(text, TOOLS, ("plain", "hermes"))]
    assert any("the call is not closed: </tool" in error for error in errors) is is_it


def test_formats_may_be_mixed_and_what_is_inside_a_call_begins_none() -> None:
    quoted = {"name": "calc", "arguments": {"expression": CALL.replace("</tool>", "")}}
    text = f"{CALL}<tool_call>{json.dumps(quoted)}</tool_call>"
    both = calls_in(text, TOOLS, ("hermes", "plain"))
    assert [called.arguments for called in both] == [{"expression": "1"}, {"expression": "<tool>calc(1)"}]
    assert [called.arguments for called in calls_in(text, TOOLS, "hermes")] == [{"expression": "<tool>calc(1)"}]


@pytest.mark.parametrize("num", [MAX_CALLS, MAX_CALLS + 1, 50 * MAX_CALLS])
def test_so_many_calls_of_a_turn_are_read_and_no_more(num: int) -> None:
    found = calls_in(CALL * num, TOOLS, "plain")
    assert len([called for called in found if not called.error]) == MAX_CALLS
    errors = [called.error for called in found if called.error]
    assert errors == ["more than 32 calls in one turn: the rest was not made"] * (num > MAX_CALLS)


def test_what_ends_a_call_is_told_and_an_unknown_format_is_named() -> None:
    assert closers(("plain", "hermes", "json")) == ("</tool>", "</tool_call>")
    with pytest.raises(UnknownName, match="'xml'; known: plain, hermes, json"):
        calls_in("", TOOLS, "xml")


@pytest.mark.parametrize("seed", range(3))
def test_the_pocket_pairs_own_calls_are_read_and_written_as_it_writes_them(seed: int) -> None:
    lookup = tool(name="lookup")(_lookup)
    quantity = tool(name="convert")(_convert)
    tools = {each.name: each for each in (calc, lookup, quantity, ITEMS)}
    errand = next(tool_tasks.errands("report", seed))
    shop, moves = errand.shop(), tool_tasks.plan(errand)
    _, call = next(moves)
    while call:
        text = f"<tool>{call}</tool>"
        [called] = calls_in(f"Look.\n\n</think>\n{text}", tools.values(), "plain")
        assert not called.error
        assert written(called.name, called.arguments, "plain", tools[called.name]) == text
        try:
            _, call = moves.send(shop.call(call.partition("(")[0], call.partition("(")[2][:-1]))
        except StopIteration:
            break


def _lookup(item: str) -> str:
    return item


def _convert(quantity: str, unit: str) -> str:
    return quantity + unit


TEXTS = st.text(max_size=20) | st.sampled_from(
    [
        "",
        " a",
        "a=b",
        "null",
        "3",
        "</tool>",
        "</tool_call>",
        "<think>",
        "</think>",
        "```",
        "(",
        "a, b",
        "'",
        '"a"',
        "\\n",
        "x\n",
        "[1,",
    ]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
CALLS = st.one_of(
    st.tuples(st.just(calc), st.fixed_dictionaries({"expression": TEXTS})),
    st.tuples(st.just(convert), st.fixed_dictionaries({"amount": TEXTS, "unit": TEXTS})),
    st.tuples(
        st.just(plot),
        st.fixed_dictionaries(
            {"x": st.integers(-(10**20), 10**20)},
            optional={
                "y": st.floats(allow_nan=False, allow_infinity=False),
                "label": st.none() | TEXTS,
                "is_big": st.booleans(),
                "points": st.none() | st.lists(st.integers(), max_size=3),
            },
        ),
    ),
    st.tuples(st.just(pick), st.fixed_dictionaries({"what": st.sampled_from(["a", 1])})),
    st.tuples(
        st.just(anything),
        st.fixed_dictionaries(
            {}, optional={"value": JSON, "other": st.none() | st.dictionaries(TEXTS, JSON, max_size=3)}
        ),
    ),
    st.tuples(st.just(ITEMS), st.just({})),
)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=80)
@given(call=CALLS, knows=st.booleans(), other=CALLS)
@example(call=(plot, {"x": 3, "label": "3"}), knows=True, other=(ITEMS, {}))
def test_what_is_written_is_read_back(format: str, call: tuple[Any, Any], knows: bool, other: tuple[Any, Any]) -> None:
    called, arguments = call
    text = written(called.name, arguments, format, called if knows else None)
    assert calls_in(f"<think>\nhm</think>{text}", TOOLS, tuple(FORMATS)) == [Called(called.name, arguments)]
    if closers(format):
        text += written(other[0].name, other[1], format)
        assert [each.name for each in calls_in(text, TOOLS, format)] == [called.name, other[0].name]


PIECES = st.sampled_from(
    ["<tool>", "</tool>", "<tool_call>", "</tool_call>", "<think>", "</think>", "```", "\n", "calc(", "plot(", ")", "(",
     "{", "}", '"name"', ":", '"', "'", ",", '"arguments"', "=", "\\", "\ud800", "\x00", "1", "x",
     '{"name": "plot", "arguments": ']
)  # fmt: skip


@settings(max_examples=150)
@given(text=st.lists(PIECES, max_size=20).map("".join) | st.text(max_size=50))
@example(text="<tool>anything(" + "(" * 2000 + ")</tool>")
def test_no_text_is_an_exception(text: str) -> None:
    for formats in (*FORMATS, tuple(FORMATS)):
        found = calls_in(text, TOOLS, formats)
        assert bool(found) is has_call(text, formats)
        for called in found:
            assert called.error.isprintable() and not (called.error and called.arguments)
        assert not is_open(text, formats) or found[-1].error


def test_hostile_lengths_are_read_quickly() -> None:
    for piece in ("<tool>", "<tool></tool>", "```\n", '<tool>calc("', "',\"", "<tool_call>{"):
        calls_in(piece * 200_000, TOOLS, tuple(FORMATS))
    mixed = "".join(Random(0).choices(["'", '"', ",", "(", "\\"], k=MAX_CHARS - 10))
    plain(f"convert({mixed})")
