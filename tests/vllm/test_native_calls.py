"""Native calls of a served chat model: the server finds them in the text, and what it made of them is read strictly.

SmolLM2 calls nothing by itself, but it says what it is told to.
"""

from __future__ import annotations

import pytest

from orchestrator.engines import chat
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.types import Budget, Message, Status, Task

pytestmark = pytest.mark.vllm

SAID = (("Say: a cat", "a cat"), ("Say: two\ndogs", "two\ndogs"))


def told_to_say(text: str) -> Task:
    shots = [Message(*turn) for pair in SAID for turn in zip(("user", "assistant"), pair, strict=True)]
    return Task(messages=(*shots, Message("user", f"Say: {text}")))  # type: ignore[arg-type]


def price(item: str) -> str:
    """Say what an item costs."""
    return f"5 for a {item}"


async def ran(vllm_url: str, call: str, *, steps: int) -> tuple[RunResult, StoredRun]:
    """Run an agent of SmolLM2 that is told to make a call."""
    engines = {"only": chat(f"{vllm_url}/v1", model="smollm2-135m", temperature=0)}
    budget = Budget(steps=steps, tokens=60)
    async with Pipeline(engines, "small", tools=[price], budget=budget, db=":memory:") as made:
        result = await made.arun(told_to_say(f"<tool_call>\n{call}\n</tool_call>"))
        return result, made.journal.run(result.run_id)


async def test_a_native_call_is_made_and_its_answer_is_sent_back(vllm_url: str) -> None:
    result, stored = await ran(vllm_url, '{"name": "price", "arguments": {"item": "pen"}}', steps=3)
    assert [(step.kind.value, step.writer, step.text) for step in result.steps[:2]] == [
        ("action", "only", '<tool_call>{"name": "price", "arguments": {"item": "pen"}}</tool_call>'),
        ("observation", "price", "5 for a pen"),
    ]
    assert (result.error, result.steps[0].num_tokens > 0) == (None, True)
    assert [(call.intent.purpose, call.result and call.result.status) for call in stored.calls] == [
        ("draft", "done"),
        ("tool", "done"),
        ("draft", "done"),
    ]


async def test_arguments_of_a_native_call_are_held_against_the_tools_own(vllm_url: str) -> None:
    result, stored = await ran(vllm_url, '{"name": "price", "arguments": {"items": "pen"}}', steps=2)
    assert result.status is Status.BUDGET
    assert [step.text for step in result.steps] == [
        '<tool_call>{"name": "price", "arguments": {"items": "pen"}}</tool_call>',
        "error: price: item: Field required; items: Extra inputs are not permitted",
    ]
    assert [call.intent.purpose for call in stored.calls] == ["draft"]
