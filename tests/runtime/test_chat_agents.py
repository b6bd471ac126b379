"""Agents of chat-only APIs: the API is given the tools apart from the text, and every call has its own answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from stub_server import Reply, StubServer

from orchestrator.engines import chat
from orchestrator.engines.base import Request
from orchestrator.engines.dialects.chat_tools import sent
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import ToolPrompt
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget, Message, Mode, Status

QUESTION = "What do a pen and a cup cost?"
PRICES = {"pen": "3\n4", "cup": "5"}
BOTH = (
    '<tool_call>{"name": "price", "arguments": {"item": "pen"}}</tool_call>\n'
    '<tool_call>{"name": "price", "arguments": {"item": "cup"}}</tool_call>'
)
NATIVE = ToolPrompt(format="hermes", is_native=True)


def price(item: str) -> str:
    """Say what an item costs."""
    return PRICES[item]


def talks(script: Any, **options: Any) -> Pipeline:
    """Return a pipeline of one chat-only engine."""
    given = {"tool_prompt": NATIVE, "db": ":memory:", **options}
    return Pipeline({"only": Scripted(script, continues=False, logprobs=0)}, "small", tools=[price], **given)


def asked(made: Pipeline) -> list[Request]:
    engine = made.engines["only"]
    assert isinstance(engine, Scripted)
    return engine.requests


def test_a_chat_only_engine_calls_is_answered_and_goes_on() -> None:
    with talks([BOTH, "Together \\boxed{8}."]) as made:
        result = made.run(QUESTION)
        first, second = asked(made)
    assert (result.status, result.answer) == (Status.COMPLETED, "8")
    assert [step.kind.value for step in result.steps] == ["action", "observation", "thought"]
    assert [tool["function"]["name"] for tool in first.tools] == ["price"]
    assert second.tools == first.tools
    assert first.messages == (Message("user", QUESTION),)
    assert second.messages == (
        Message("user", QUESTION),
        Message("assistant", BOTH),
        Message("tool", "3\n4"),
        Message("tool", "5"),
    )


def test_each_of_several_calls_has_its_own_answer_whatever_is_wrong_with_it() -> None:
    turn = BOTH.replace('"cup"', '"hat"') + '<tool_call>{"name": "fly", "arguments": {}}</tool_call>'
    with talks([turn, "\\boxed{0}"]) as made:
        made.run(QUESTION)
        messages = asked(made)[1].messages
    assert messages is not None
    assert [message.content for message in messages if message.role == "tool"] == [
        "3\n4",
        "error: KeyError: 'hat'",
        "error: there is no tool 'fly'; there are: price",
    ]
    *_, answers = [sent(messages, has_tools=True)]
    assert [each.get("tool_call_id") for each in answers[2:]] == ["call00000", "call00001", "call00002"]


def test_a_resumed_agent_is_given_the_same_conversation(tmp_path: Any) -> None:
    def script(request: Request) -> Any:
        assert request.messages is not None
        return BOTH if len(request.messages) == 1 else ConnectionError() if failing else "\\boxed{8}"

    failing = True
    with talks(script, db=tmp_path / "journal.db") as made:
        with pytest.raises(ConnectionError):
            made.run(QUESTION, run_id="one")
        before = asked(made)[-1].messages
    failing = False
    with talks(script, db=tmp_path / "journal.db") as made:
        result = made.run(QUESTION, run_id="one")
        [again] = asked(made)
    assert (again.messages, result.answer) == (before, "8")


def test_a_chat_only_engine_that_calls_for_ever_ends_with_its_steps() -> None:
    with talks(lambda request: BOTH, budget=Budget(steps=5)) as made:
        result = made.run(QUESTION)
    assert (result.status, len(result.steps)) == (Status.BUDGET, 5)


def test_tools_told_in_words_are_not_given_twice() -> None:
    with talks(["<tool>price(pen)</tool>", "\\boxed{3}"], tool_prompt=ToolPrompt()) as made:
        result = made.run(QUESTION)
        first, second = asked(made)
    assert result.answer == "3"
    assert (first.tools, second.tools) == ((), ())
    assert first.messages is not None
    assert "price(item: string): Say what an item costs." in first.messages[0].content


def test_a_mode_without_tools_gives_none() -> None:
    with talks([BOTH], mode=Mode(name="bare", tools=False)) as made:
        result = made.run(QUESTION)
        [only] = asked(made)
    assert only.tools == ()
    assert [step.kind.value for step in result.steps] == ["thought"]


@pytest.fixture
async def stub() -> AsyncIterator[StubServer]:
    async with StubServer() as server:
        server.add("/v1/models", Reply(json={"data": [{"id": "m"}]}))
        yield server


def event(delta: dict[str, Any], finish: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


async def test_an_agent_of_a_chat_api_speaks_its_interface(stub: StubServer) -> None:
    calls = [
        {"index": number, "id": f"id{number}", "function": {"name": "price", "arguments": f'{{"item": "{item}"}}'}}
        for number, item in enumerate(PRICES)
    ]
    stub.add(
        "/v1/chat/completions",
        Reply(events=[event({"tool_calls": calls}, "tool_calls"), "[DONE]"]),
        Reply(events=[event({"content": "\\boxed{8}"}, "stop"), "[DONE]"]),
    )
    engines = {"only": chat(stub.url + "/v1", model="m")}
    async with Pipeline(engines, "small", tools=[price], db=":memory:") as made:
        result = await made.arun(QUESTION)
    assert (result.status, result.answer) == (Status.COMPLETED, "8")
    first, second = stub.bodies("/v1/chat/completions")
    assert [tool["function"]["name"] for tool in first["tools"]] == ["price"]
    assert [message["role"] for message in first["messages"]] == ["user"]
    _, turn, *answers = second["messages"]
    assert [call["function"]["name"] for call in turn["tool_calls"]] == ["price", "price"]
    assert [(each["role"], each["content"]) for each in answers] == [("tool", "3\n4"), ("tool", "5")]
    assert [each["tool_call_id"] for each in answers] == [call["id"] for call in turn["tool_calls"]]
