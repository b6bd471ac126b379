"""Tools of a pipeline together, and by name."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from orchestrator import tools as room
from orchestrator.errors import UnknownName, UserError
from orchestrator.tools import TOOLS, Function, Toolset, find, make, tool


@tool
def convert(
    amount: float, unit: Literal["km", "m"], places: int | None = None, other: dict[str, int] | None = None
) -> str:
    """Convert a length."""
    return ""


POCKET = [Function(lambda: "", name=name) for name in ("calc", "lookup", "list", "convert")]


def test_engines_are_told_of_tools_in_a_few_lines() -> None:
    assert Toolset([convert, POCKET[0]]).describe() == (
        "You may call these tools:\n"
        "- convert(amount: number, unit: 'km' or 'm', places: integer or null (optional), "
        "other: object or null (optional)): Convert a length.\n"
        "- calc()\n"
        "To call one, write <tool>name(argument, ...)</tool> and stop there."
    )
    hermes = Toolset([convert], ["hermes", "plain"]).describe()
    assert hermes.endswith('write <tool_call>{"name": "...", "arguments": {...}}</tool_call> and stop there.')


def test_the_pocket_pair_is_told_in_its_own_words() -> None:
    assert Toolset(POCKET, template="Tools: {names}.").describe() == "Tools: calc, lookup, list, convert."


def test_without_tools_nothing_is_told() -> None:
    assert Toolset([]).describe() == "" and Toolset([]).schemas() == []


def test_chat_templates_are_given_schemas() -> None:
    assert Toolset([convert]).schemas() == [
        {
            "type": "function",
            "function": {
                "name": "convert",
                "description": "Convert a length.",
                "parameters": convert.parameters,
            },
        }
    ]


def test_calls_are_found_in_the_formats_of_the_set() -> None:
    tools = Toolset([convert], ("hermes", "plain"))
    text = "<tool>convert(3, m)</tool><tool>what"
    assert [called.error for called in tools.calls_in(text)] == ["", "the call is not closed: </tool> is missing"]
    assert tools.has_call(text) and tools.is_open(text)
    assert tools.closers == ("</tool_call>", "</tool>")
    assert (tools["convert"], list(tools), len(tools)) == (convert, [convert], 1)


@pytest.mark.parametrize(
    ("names", "formats", "said"),
    [
        ([convert, convert], "plain", "two tools are called 'convert'"),
        (["calculator", "calculator"], "plain", "two tools are called 'calculator'"),
        (["calculater"], "plain", "no tool named 'calculater'; known: calculator, python"),
        ([convert], "xml", "no format of tool calls named 'xml'; known: plain, hermes, json"),
        ([convert], (), "formats = \\(\\) must name at least one"),
    ],
)
def test_what_cannot_be_put_together_is_named(names: list[object], formats: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Toolset(names, formats)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_is_found_and_made_by_name(name: str) -> None:
    made = make(name)
    assert isinstance(made, find(name)) and made.name == name
    assert getattr(room, find(name).__name__) is find(name)
    assert made.description and made.parameters["additionalProperties"] is False
    assert Toolset([name])[name].name == name


def test_options_of_a_tool_are_given_by_name() -> None:
    assert make("calculator", name="calc").name == "calc"
    with pytest.raises(UnknownName, match="'shell'; known: calculator, python"):
        make("shell")
    with pytest.raises(UnknownName, match="tool 'calculator' has no option 'cpu_s'; known: name, timeout_s, max_chars"):
        make("calculator", cpu_s=3)
    with pytest.raises(UserError, match="tool 'calculator': timeout_s = '5' must be a number"):
        make("calculator", timeout_s="5")


def test_the_rooms_names_are_there_and_no_others() -> None:
    assert all(getattr(room, name) for name in room.__all__)
    with pytest.raises(AttributeError, match="Shell"):
        _ = room.Shell


@pytest.mark.parametrize(
    ("registered", "options", "said"),
    [
        (convert, {"name": "x"}, "tool 'mine' takes no options; given: name"),
        (3, {}, "tool 'mine' is 3, which is no tool: mend its package"),
        (print, {}, "which is no tool"),
    ],
)
def test_what_a_package_registered_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, registered: object, options: dict[str, str], said: str
) -> None:
    monkeypatch.setattr(room, "TOOLS", {"mine": f"{__name__}:REGISTERED"})
    monkeypatch.setattr("orchestrator.registry.find", lambda *_: registered)
    with pytest.raises(UserError, match=said):
        make("mine", **options)


def test_a_tool_that_is_made_already_is_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.registry.find", lambda *_: convert)
    assert make("convert") is convert
    assert asyncio.run(make("convert")({"amount": 1.0, "unit": "m"})).text == ""
