"""Functions become tools, and whatever they do the run goes on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import partial
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from orchestrator.errors import BadCall, UserError
from orchestrator.tools.base import ERROR, Observation
from orchestrator.tools.function import Function, tool


class Size(Enum):
    SMALL = "small"


class Box(BaseModel):
    width: int


@tool(timeout_s=5, idempotent=True)
def convert(amount: float, unit: Literal["km", "m"], on: date | None = None, tags: list[str] | None = None) -> str:
    """Convert a length. The second sentence is for people.

    Longer words.

    Args:
        amount: how much,
            in units
        unit (str): of what

    Returns:
        on: nothing of a parameter
    """
    return f"{amount:g} {unit} {on} {tags}"


async def call(function: Callable[..., Any], *, timeout_s: float = 20, max_chars: int = 4000) -> Observation:
    return await Function(function, name="t", timeout_s=timeout_s, max_chars=max_chars)({})


def test_the_schema_is_that_of_the_signature_and_the_docstring() -> None:
    assert (convert.name, convert.description, convert.is_idempotent) == ("convert", "Convert a length.", True)
    assert convert.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["amount", "unit"],
        "properties": {
            "amount": {"type": "number", "description": "how much, in units"},
            "unit": {"type": "string", "enum": ["km", "m"], "description": "of what"},
            "on": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
            "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}], "default": None},
        },
    }


async def test_arguments_become_the_functions_types_and_defaults_hold() -> None:
    checked = convert.check({"amount": 3, "unit": "km", "on": "2020-01-02"})
    assert checked == {"amount": 3.0, "unit": "km", "on": date(2020, 1, 2)}
    assert (await convert(checked)).text == "3 km 2020-01-02 None"


def test_names_that_pydantic_keeps_for_itself_and_types_of_our_own_are_taken() -> None:
    def f(json: int, model_config: Size, copy: Box, _x: int = 3) -> None: ...

    checked = tool(f).check({"json": 1, "model_config": "small", "copy": {"width": 2}})
    assert checked == {"json": 1, "model_config": Size.SMALL, "copy": Box(width=2)}


def test_a_default_that_json_cannot_show_holds_all_the_same() -> None:
    def f(x: Any = object()) -> str:  # noqa: B008
        return type(x).__name__

    assert asyncio.run(tool(f)(tool(f).check({}))).text == "object"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "convert: amount: Field required; unit: Field required"),
        ({"amount": "3", "unit": "m"}, "convert: amount: Input should be a valid number"),
        ({"amount": True, "unit": "m"}, "convert: amount: Input should be a valid number"),
        ({"amount": 1, "unit": "mile"}, "convert: unit: Input should be 'km' or 'm'"),
        ({"amount": 1, "unit": "m", "\x1b[2J": 1}, r"convert: \x1b[2J: Extra inputs are not permitted"),
        ({"amount": float("nan"), "unit": "m"}, "convert: the arguments cannot be read: ValueError"),
        ({"amount": {1}, "unit": "m"}, "convert: the arguments cannot be read: TypeError"),
        ({"amount": 1, "unit": "m", "tags": ["\ud800"]}, "convert: Invalid JSON: "),
        ({"amount": 1, "unit": "m", "tags": [1, 2, 3, 4, 5]}, "convert: tags.0: Input should be a valid string; tags"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(BadCall) as caught:
        convert.check(arguments)
    assert str(caught.value).startswith(said)
    assert str(caught.value).isprintable()


def _untyped(a: int, b) -> None: ...  # type: ignore[no-untyped-def]
def _many(*rest: int) -> None: ...
def _named(**rest: int) -> None: ...
def _positional(a: int, /) -> None: ...
def _foreign(a: threading.Thread) -> None: ...
def _unknown(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def _generator(a: int) -> Iterator[int]:
    yield a


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_untyped, "function '_untyped' cannot be a tool: parameter 'b' has no type: annotate it"),
        (_many, "function '_many' cannot be a tool: parameter 'rest' stands for any number"),
        (_named, "function '_named' cannot be a tool: parameter 'rest' stands for any number"),
        (_positional, "function '_positional' cannot be a tool: parameter 'a' is positional only"),
        (_foreign, "function '_foreign' cannot be a tool: parameter 'a': Unable to generate"),
        (_unknown, "function '_unknown' cannot be a tool: its signature cannot be read"),
        (_generator, "tool '_generator' is a generator"),
        (lambda: 1, "tool name '<lambda>': give name="),
        (partial(_many, 1), "tool name '': give name="),
    ],
)
def test_a_function_that_cannot_be_called_by_name_is_refused_in_one_line(function: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        Function(function)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout_s": 0}, "tool 't': timeout_s = 0 must be"),
        ({"timeout_s": float("nan")}, "tool 't': timeout_s = nan must be"),
        ({"max_chars": 99}, "tool 't': max_chars = 99 must be a whole number, at least 100"),
        ({"timeout_s": "5"}, "tool 't': timeout_s = '5' must be"),
        ({"max_chars": 1e3}, "tool 't': max_chars = 1000.0 must be"),
        ({"name": "a b"}, "tool name 'a b'"),
        ({"name": 3}, "tool name 3"),
    ],
)
def test_an_option_out_of_range_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Function(lambda: 1, **{"name": "t", **options})


class Hostile(BaseException):
    def __str__(self) -> str:
        raise SystemExit(7)


class Text(str):
    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class Shy:
    def __repr__(self) -> str:
        raise SystemExit(1)


@dataclass
class Point:
    x: int


def _cycle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("", ""),
        (None, "null"),
        ({"a": [1, 2.5, True]}, '{"a":[1,2.5,true]}'),
        (Point(3), '{"x":3}'),
        (Box(width=3), '{"width":3}'),
        (Text("plain"), "plain"),
        ("\x1b[2J\x07\r\u202e\ud800\u200b", r"\x1b[2J\x07\r\u202e\ud800\u200b"),
        ("error: busy", "error: busy"),
    ],
)
async def test_a_result_is_a_text_or_json(result: Any, text: str) -> None:
    seen = await call(lambda: result)
    assert (seen.text, seen.is_error) == (text, text.startswith(ERROR))


async def _nothing() -> None: ...


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (b"abc", "error: the tool returned bytes, which are no text"),
        (bytearray(3), "error: the tool returned bytearray, which"),
        ((each for each in "abc"), "error: the tool returned a generator, which may have no end"),
        (_nothing, "error: the tool returned a function, which cannot be written as JSON"),
        (Shy(), "error: the tool returned a Shy, which cannot be written as JSON"),
        ({"a": Shy()}, "error: the tool returned a dict, which cannot be written as JSON"),
        (_cycle(), "error: the tool returned a list, which cannot be written as JSON"),
        (["\ud800"], "error: the tool returned a list, which cannot be written as JSON"),
    ],
)
async def test_a_result_that_is_no_text_is_said_so(result: Any, said: str) -> None:
    seen = await call(lambda: result)
    assert seen.is_error and seen.text.startswith(said) and "\n" not in seen.text


async def test_a_coroutine_of_a_plain_function_is_closed_and_said_so() -> None:
    seen = await call(lambda: _nothing())
    assert seen.text.startswith("error: the tool returned a coroutine, which")


ERRORS = [
    (ValueError("no\n such\tthing"), "error: ValueError: no such thing"),
    (ValueError(), "error: ValueError"),
    (SystemExit(3), "error: SystemExit: 3"),
    (KeyboardInterrupt(), "error: KeyboardInterrupt"),
    (GeneratorExit(), "error: GeneratorExit"),
    (asyncio.CancelledError(), "error: CancelledError"),
    (Hostile(), "error: the tool failed, and what it raised cannot be shown"),
    (BadCall("write a number"), "error: write a number"),
    (RuntimeError("\x1b]0;x\x07"), r"error: RuntimeError: \x1b]0;x\x07"),
    (
        FileNotFoundError(2, "No such file", "/home/me/key.txt"),
        "error: FileNotFoundError: [Errno 2] No such file: 'key.t",
    ),
    (ImportError("x (/usr/lib/python3/x.py), 3/4, http://a/b"), "error: ImportError: x (x.py), 3/4, http://a/b"),
]


@pytest.mark.parametrize(("error", "said"), ERRORS)
async def test_what_a_function_raises_is_one_line_for_the_engine(error: BaseException, said: str) -> None:
    seen = await call(lambda: _raise(error))
    assert seen.is_error and seen.text.startswith(said) and "\n" not in seen.text


@pytest.mark.parametrize(("error", "said"), ERRORS)
async def test_what_an_async_function_raises_is_one_line_too(error: BaseException, said: str) -> None:
    async def fails() -> None:
        raise error

    seen = await call(fails)
    assert seen.is_error and seen.text.startswith(said) and "\n" not in seen.text


@pytest.mark.parametrize(
    ("length", "letter", "is_cut"), [(100, "a", False), (101, "a", True), (10**7, "a", True), (100, "\x00", True)]
)
async def test_a_long_result_is_cut_and_says_how_long_it_was(length: int, letter: str, is_cut: bool) -> None:
    seen = await call(lambda: letter * length, max_chars=100)
    assert len(seen.text) <= 100
    assert seen.text.endswith(f"\n[cut here: the whole has {length} characters]") is is_cut


async def test_a_function_that_hangs_is_left_behind_in_time() -> None:
    free = threading.Event()
    began = time.monotonic()
    seen = await call(lambda: free.wait(), timeout_s=0.05)
    assert seen.text == "error: t gave no answer within 0.05 s; it may still be running"
    assert time.monotonic() - began < 5 and seen.seconds >= 0.05
    free.set()


async def test_an_async_function_that_hangs_is_cancelled() -> None:
    ended = []

    async def hangs() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    seen = await call(hangs, timeout_s=0.05)
    assert (seen.text, ended) == ("error: t gave no answer within 0.05 s; it was cancelled", [True])


@pytest.mark.parametrize("is_async", [True, False])
async def test_cancelling_the_run_is_passed_on(is_async: bool) -> None:
    ended, free = [], threading.Event()

    async def hangs() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    task = asyncio.create_task(call(hangs if is_async else lambda: free.wait()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True] * is_async
    free.set()


def test_a_function_that_hangs_does_not_hold_up_the_end_of_the_program() -> None:
    code = """
import asyncio, time
from orchestrator.tools.function import Function
print(asyncio.run(Function(lambda: time.sleep(60), name="t", timeout_s=0.1)({})).text)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout == "error: t gave no answer within 0.1 s; it may still be running\n"
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_method_and_an_object_that_is_called_are_tools_too() -> None:
    class Shop:
        def price(self, item: str) -> int:
            """Look up a price."""
            return len(item)

        def __call__(self, item: str) -> str:
            return item

    assert (await tool(Shop().price)({"item": "pen"})).text == "3"
    assert (await tool(name="shop")(Shop())({"item": "pen"})).text == "pen"
