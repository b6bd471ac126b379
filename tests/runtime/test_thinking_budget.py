"""A mode's budget of thought holds to the token, over all steps, turns and engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pure_engine import draw

from orchestrator.engines.base import Capabilities, Request
from orchestrator.engines.scripted import Scripted
from orchestrator.routers import Random
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.types import Budget, Mode, StepKind

CLOSES = "</think>\n\n"
PIECES = ("a", " b", "\n\n", "é", "<think>", "</think>", "```\n", "\\boxed{4}", "\n", "so\n\n")


def lookup(item: str) -> str:
    """Look up the price of an item."""
    return "7"


def thought_in(result: RunResult, *, begins_open: bool) -> int:
    """Return how many bytes, which are tokens, stand inside of think blocks; a tool's answer begins a new turn."""
    is_open, count = begins_open, 0
    for step in result.steps:
        if step.kind is StepKind.OBSERVATION:
            is_open = begins_open
            continue
        text = step.text
        while text:
            tag = "</think>" if is_open else "<think>"
            inside, found, text = text.partition(tag)
            count += len(inside.encode()) if is_open else 0
            is_open = is_open != bool(found)
    return count


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    budget=st.integers(1, 60),
    think=st.sampled_from([True, None]),
    acts=st.booleans(),
    large_share=st.sampled_from([0.0, 0.5]),
)
def test_no_run_thinks_a_token_more_than_its_budget(
    seed: int, budget: int, think: bool | None, acts: bool, large_share: float
) -> None:
    """Whether the prompt opens the block or the engine does, once or again and again, in one turn or in several."""

    def scripted(name: str, family: str) -> Scripted:
        def answer(request: Request) -> str:
            assert request.prompt is not None
            drawn = draw(seed, name, request.prompt.ids(), request.purpose)
            if acts and drawn % 7 == 0:
                return "<tool>lookup(x)</tool>"
            return "".join(PIECES[draw(drawn, place) % len(PIECES)] for place in range(1 + drawn % 30))

        return Scripted(answer, name=name, family=family)

    mode = Mode(name="held", think=think, budget=budget)
    engines = {"small": scripted("small", "a"), "large": scripted("large", "b")}
    options: dict[str, Any] = {"tools": [lookup]} if acts else {}
    limits = Budget(tokens=3000, steps=20)
    with Pipeline(engines, Random(large_share=large_share), mode=mode, budget=limits, db=":memory:", **options) as made:
        result = made.run("How many?", run_id="it")
        stored = made.journal.run("it")
    assert thought_in(result, begins_open=think is True) <= budget
    exits = [row for row in stored.decisions if row.door == "exit"]
    assert all("budget of thought is used up" in row.reason for row in exits)


def test_a_thought_that_is_opened_again_in_the_step_that_closed_one_goes_on_within_its_budget() -> None:
    said = ["12</think>so<think>", "3" * 50, "\\boxed{4}"]
    with Pipeline({"small": Scripted(said)}, "small", mode=Mode(name="held", budget=6), db=":memory:") as made:
        result = made.run("?")
    assert (result.answer, thought_in(result, begins_open=False)) == ("4", 6)


def test_a_budget_that_is_used_up_closes_the_thought_and_the_answer_is_asked_for() -> None:
    requests: list[Request] = []

    def script(request: Request) -> str:
        requests.append(request)
        return "x" * 100 if request.purpose == "draft" else "\\boxed{4}"

    with Pipeline({"small": Scripted(script)}, "small", mode="think(10)", db=":memory:") as made:
        result = made.run("?", run_id="it")
        [row] = [row for row in made.journal.run("it").decisions if row.door == "exit"]
    assert result.text == "x" * 10 + CLOSES + "\\boxed{4}"
    assert [request.max_tokens for request in requests] == [10, 512]
    assert row.reason == "the mode's budget of thought is used up; 10 tokens of thought, saves 16374 at most"


def test_a_thought_that_ends_within_its_budget_leaves_the_answer_its_own_room() -> None:
    with Pipeline(
        {"small": Scripted(["12</think>", "The answer is \\boxed{1234}."])}, "small", mode="think(10)", db=":memory:"
    ) as made:
        result = made.run("?")
    assert (result.text, result.answer) == ("12</think>The answer is \\boxed{1234}.", "1234")
    assert [step.kind for step in result.steps] == ["thought", "answer"]


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("think", ["a</think>\n\n", "<think>b 5"]),
        ("think", ["a</think>\n\n", "<think>b</think>5<think>no, 6"]),
        ("think(5)", ["aaaaaaaaaa", "<think>so it is 5"]),
        ("no_think", ["<think>abc", "<think>so it is 5"]),
    ],
)
def test_a_thought_that_is_opened_again_where_the_answer_is_due_is_never_the_answer(mode: str, said: list[str]) -> None:
    with Pipeline({"small": Scripted(said)}, "small", mode=mode, db=":memory:") as made:
        result = made.run("?")
    assert (result.status, result.answer) == ("no_answer", None)
    assert result.reason == "the engine thought again where its answer was due"


@pytest.mark.parametrize("mode", ["no_think", "instant"])
def test_an_engine_that_opens_a_thought_by_itself_where_none_is_allowed_has_to_answer(mode: str) -> None:
    with Pipeline(
        {"small": Scripted(["<think>abc\n\nd</think>8", "\\boxed{9}"])}, "small", mode=mode, db=":memory:"
    ) as made:
        result = made.run("?", run_id="it")
        stored = made.journal.run("it")
    assert (result.answer, result.text) == ("9", f"<think>{CLOSES}\\boxed{{9}}")
    assert thought_in(result, begins_open=False) == 0
    [row] = [row for row in stored.decisions if row.door == "exit"]
    assert row.reason.startswith(f"mode {mode} allows none; 0 tokens of thought")


def test_the_thought_of_a_later_turn_has_what_the_earlier_ones_left() -> None:
    requests: list[Request] = []
    said = iter(["12345</think>", "<tool>lookup(x)</tool>", "1" * 50, "\\boxed{7}"])

    def script(request: Request) -> str:
        requests.append(request)
        return next(said)

    with Pipeline({"small": Scripted(script)}, "small", mode="think(16)", tools=[lookup], db=":memory:") as made:
        result = made.run("?")
    assert [step.text for step in result.steps][3:] == ["1" * 11, CLOSES + "\\boxed{7}"]
    assert thought_in(result, begins_open=True) == 16


class Serves(Scripted):
    """Says that its server ends thoughts at a budget."""

    async def start(self) -> Capabilities:
        return replace(await super().start(), thinking_budget=True)


def test_a_server_that_ends_thoughts_is_told_with_every_call_what_is_left() -> None:
    engine = Serves(["1234\n\n", "12\n\n", "3</think>\n\n", "\\boxed{4}"])
    with Pipeline({"small": engine}, "small", mode="think(20)", db=":memory:") as made:
        result = made.run("?")
    assert result.answer == "4"
    assert [request.think_budget for request in engine.requests] == [20, 14, 10, 9]
    assert [request.max_tokens for request in engine.requests] == [512] * 4


def test_a_call_that_goes_on_with_a_step_is_told_what_the_one_before_has_left() -> None:
    engine = Serves(["```\n\n", "12\n```\n\n", "3</think>\n\n", "\\boxed{4}"])
    with Pipeline({"small": engine}, "small", mode="think(20)", db=":memory:") as made:
        result = made.run("?")
    assert [step.text for step in result.steps[:2]] == ["```\n\n12\n```\n\n", "3</think>\n\n"]
    assert [request.think_budget for request in engine.requests] == [20, 15, 7, 6]


@pytest.mark.parametrize("text", ["x" * 30, "<think>" + "x" * 30])
def test_tokens_outside_of_a_thought_do_not_count_against_the_budget(text: str) -> None:
    mode = Mode(name="held", budget=40)
    with Pipeline(
        {"small": Scripted([text + "\n\n", "y" * 30 + "\\boxed{4}", "z" * 30 + "\\boxed{4}"])},
        "small",
        mode=mode,
        db=":memory:",
    ) as made:
        result = made.run("?")
    assert thought_in(result, begins_open=False) <= 40
    assert "y" * 30 in result.text
