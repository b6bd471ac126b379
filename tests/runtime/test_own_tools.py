"""A tool that is not one of ours is held to what ours keep to: whatever it does is an observation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from orchestrator.engines.scripted import Scripted
from orchestrator.errors import BadCall, UserError
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.tools import Function, own
from orchestrator.tools.base import Observation
from orchestrator.types import Budget, Status, StepKind


class Own:
    """A tool of the public protocol."""

    name = "own"
    description = "Does what it is told."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}}
    is_idempotent = True
    needs_approval = False

    def __init__(self, does: Any = None, checks: Any = None) -> None:
        self.does = does
        self.checks = checks

    def check(self, arguments: Mapping[str, Any]) -> Any:
        return _done(self.checks) if self.checks is not None else arguments

    async def __call__(self, arguments: Mapping[str, Any]) -> Any:
        return _done(self.does)


class Generous(Own):
    max_chars = 5000


def _done(what: Any) -> Any:
    if isinstance(what, BaseException):
        raise what
    return what


def ran(made: Any, **options: Any) -> tuple[Status, str, str]:
    """Call a tool once; return the run's status, who answered and what."""
    engine = Scripted(["<tool>own()</tool>", "\\boxed{0}"])
    with Pipeline({"small": engine}, "small", tools=made, db=":memory:", **options) as pipeline:
        result = pipeline.run("q")
        [seen] = [step for step in result.steps if step.kind is StepKind.OBSERVATION]
        return result.status, seen.writer, seen.text


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        (RuntimeError("boom in /srv/secret/place.db"), "error: RuntimeError: boom in place.db"),
        (BadCall("say it in other words"), "error: say it in other words"),
        (SystemExit(3), "error: SystemExit: 3"),
        (asyncio.CancelledError(), "error: CancelledError"),
        ("text", "text"),
        ({"a": 1}, '{"a":1}'),
        (None, "null"),
        (Observation("a\x1b[2J\ud800b"), "a\\x1b[2J\\ud800b"),
        (Observation(b"\x00"), "error: the tool returned bytes, which are no text: it has to decode them"),  # type: ignore[arg-type]
        (Observation("late", float("nan")), "late"),
        (Observation(""), "(no output)"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("per_task", [False, True], ids=["listed", "made for the task"])
def test_whatever_it_does_is_an_observation(does: Any, expected: str, per_task: bool) -> None:
    tools = [Own(does)]
    assert ran((lambda task: tools) if per_task else tools) == (Status.COMPLETED, "own", expected)


@pytest.mark.parametrize(("kind", "most"), [(Own, 4000), (Generous, 5000)])
@pytest.mark.parametrize("over", [0, 1, 3_000_000])
def test_what_it_answers_is_cut_at_its_cap(kind: Any, most: int, over: int) -> None:
    whole = "x" * (most + over)
    _, _, text = ran([kind(Observation(whole))])
    assert len(text) == most
    assert text == whole if not over else text.endswith(f"x\n[cut here: the whole has {most + over} characters]")


@pytest.mark.parametrize("cap", [99, "4000", None, True])
def test_a_cap_that_is_none_is_refused_at_once(cap: Any) -> None:
    made = Own()
    made.max_chars = cap  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"^tool 'own': max_chars = .* must be a whole number, at least 100$"):
        Pipeline({"small": Scripted([])}, "small", tools=[made], db=":memory:")


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        (BadCall("give a place"), "error: give a place"),
        (ValueError("no \x1b[2J"), "error: ValueError: no \\x1b[2J"),
        ("all is well", "error: ValueError: "),
        (7, "error: TypeError: "),
        (BadCall(), "error: the call is wrong"),
        (BadCall(" \n"), "error: the call is wrong"),
    ],
    ids=repr,
)
def test_a_check_that_does_not_give_arguments_is_a_call_that_cannot_be_made(checks: Any, expected: str) -> None:
    status, _, text = ran([Own(AssertionError("it was called"), checks)])
    assert (status, text.startswith(expected)) == (Status.COMPLETED, True)


@pytest.mark.parametrize(("kind", "most"), [(Own, 4000), (Generous, 5000)])
@pytest.mark.parametrize("over", [0, 1, 3_000_000])
def test_what_its_check_says_is_cut_at_its_cap(kind: Any, most: int, over: int) -> None:
    whole = "x" * (most - len("error: ") + over)
    _, _, text = ran([kind(checks=BadCall(whole))])
    assert len(text) == most
    assert (
        text == f"error: {whole}"
        if not over
        else text.endswith(f"x [cut here: the whole has {most + over} characters]")
    )


class Slow(Own):
    timeout_s = 0.05

    def __init__(self, heeds: bool = True) -> None:
        super().__init__()
        self.heeds = heeds
        self.over = asyncio.Event()

    async def __call__(self, arguments: Mapping[str, Any]) -> Any:
        while not self.over.is_set():
            try:
                await asyncio.wait_for(self.over.wait(), 5)
            except asyncio.CancelledError:
                if self.heeds:
                    raise
        return "too late"


@pytest.mark.parametrize("per_task", [False, True], ids=["listed", "made for the task"])
@pytest.mark.parametrize(
    ("heeds", "state"), [(True, "it was cancelled"), (False, "it may still be running")], ids=["heeds", "does not"]
)
def test_what_it_never_answers_is_an_observation(heeds: bool, state: str, per_task: bool) -> None:
    tool = Slow(heeds)

    async def both() -> tuple[Status, list[str]]:
        engine = Scripted(["<tool>own()</tool>", "\\boxed{0}"])
        tools: Any = (lambda task: [tool]) if per_task else [tool]
        with Pipeline({"small": engine}, "small", tools=tools, db=":memory:") as pipeline:
            result = await pipeline.arun("q")
            tool.over.set()
            return result.status, [step.text for step in result.steps if step.kind is StepKind.OBSERVATION]

    assert asyncio.run(both()) == (Status.COMPLETED, [f"error: own gave no answer within 0.05 s; {state}"])


def test_a_tool_that_does_not_say_has_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own.TIMEOUT_S == 30.0
    monkeypatch.setattr(own, "TIMEOUT_S", 0.05)
    monkeypatch.delattr(Slow, "timeout_s")
    assert ran([Slow()]) == (Status.COMPLETED, "own", "error: own gave no answer within 0.05 s; it was cancelled")


def test_a_function_of_ours_that_is_called_otherwise_is_held_to_its_time_too() -> None:
    class Otherwise(Function):
        async def __call__(self, arguments: Mapping[str, Any]) -> Any:
            await asyncio.sleep(30)

    tools = [Otherwise(lambda: "", name="own", timeout_s=0.05)]
    assert ran(tools) == (Status.COMPLETED, "own", "error: own gave no answer within 0.05 s; it was cancelled")


SCHEMA = "must be a JSON schema of an object, such as "


@pytest.mark.parametrize(
    ("door", "value", "said"),
    [
        ("name", "a b", "tool name 'a b': name it with letters, digits, _ and -, at most 64"),
        ("name", 3, "tool name 3: name it with"),
        ("name", "a" * 65, "tool name 'aaaaa"),
        ("description", None, "tool 'own': description = None must be a text"),
        ("parameters", [1], f"tool 'own': parameters = [1] {SCHEMA}"),
        ("parameters", {"type": "array"}, f"tool 'own': parameters = {{'type': 'array'}} {SCHEMA}"),
        ("parameters", {"properties": ["of"]}, f"tool 'own': parameters = {{'properties': ['of']}} {SCHEMA}"),
        ("parameters", {"properties": {"of": str}}, "tool 'own': parameters = "),
        ("parameters", {"properties": {"of": "string"}}, "tool 'own': parameters = "),
        ("parameters", {"properties": {"of": {"enum": 3}}}, "tool 'own': parameters = "),
        ("parameters", {"properties": {"of": {"anyOf": [3]}}}, "tool 'own': parameters = "),
        ("parameters", {"properties": {"of": {"$ref": 3}}}, "tool 'own': parameters = "),
        ("parameters", {"$defs": [3]}, "tool 'own': parameters = "),
        ("parameters", {"required": True}, "tool 'own': parameters = "),
        ("is_idempotent", "no", "tool 'own': is_idempotent = 'no' must be True or False"),
        ("needs_approval", 0, "tool 'own': needs_approval = 0 must be True or False"),
        ("check", None, "tool 'own': None cannot be called: give it check() and an async __call__()"),
        ("max_chars", 99, "tool 'own': max_chars = 99 must be a whole number, at least 100"),
        ("timeout_s", 0, "tool 'own': timeout_s = 0 must be a number of seconds above 0"),
        ("timeout_s", None, "tool 'own': timeout_s = None must be"),
        ("timeout_s", float("nan"), "tool 'own': timeout_s = nan must be"),
        ("settings", list, "tool 'own': settings() returned []: return a table of what it is set to"),
        ("settings", {}, "tool 'own': settings() raised TypeError: 'dict' object is not callable: mend it"),
        ("settings", lambda: 1 // 0, "tool 'own': settings() raised ZeroDivisionError: "),
    ],
)
@pytest.mark.parametrize("per_task", [False, True], ids=["listed", "made for the task"])
def test_what_cannot_be_a_tool_is_refused_in_one_line(door: str, value: Any, said: str, per_task: bool) -> None:
    made = Own("it was called")
    setattr(made, door, value)
    with pytest.raises(UserError) as refused:
        ran((lambda task: [made]) if per_task else [made])
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_a_class_in_the_place_of_a_tool_is_refused() -> None:
    with pytest.raises(UserError, match=r"^tools: Own is a class: give an instance, Own\(\.\.\.\)$"):
        ran([Own])


def test_a_function_whose_options_are_no_options_is_refused_too() -> None:
    with pytest.raises(UserError, match=r"^tool 'own': is_idempotent = 'no' must be True or False$"):
        ran([Function(lambda: "", name="own", is_idempotent="no")])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "parameters", [{}, {"properties": {"of": {"type": "string"}}, "required": ("of",)}, MappingProxyType({})]
)
def test_a_schema_may_leave_out_what_goes_without_saying(parameters: Mapping[str, Any]) -> None:
    made = Own("text")
    made.parameters = parameters
    made.checks = {}
    assert ran([made]) == (Status.COMPLETED, "own", "text")


def test_the_clock_still_cuts_it_off() -> None:
    class Hangs(Own):
        async def __call__(self, arguments: Mapping[str, Any]) -> Any:
            await asyncio.sleep(30)

    engine = Scripted(["<tool>own()</tool>"])
    budget = Budget(seconds=0.2)
    with Pipeline({"small": engine}, "small", tools=[Hangs()], budget=budget, db=":memory:") as pipeline:
        result = pipeline.run("q")
    assert (result.status, result.seconds < 5) == (Status.BUDGET, True)
    assert [step.kind for step in result.steps] == [StepKind.ACTION]
