"""Tool calls of chat APIs: text of the turn on this side, apart from it on theirs."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_server import Reply, StubServer

from orchestrator.engines.base import Request
from orchestrator.engines.dialects.chat import Chat
from orchestrator.engines.dialects.chat_tools import ToolCalls, sent
from orchestrator.errors import EngineProtocol
from orchestrator.types import Message, Sampling, Stop

LOOKUP = {"type": "function", "function": {"name": "lookup", "description": "A price.", "parameters": {}}}
QUESTION = Message("user", "What is a pen?")


def event(*pieces: Any, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    calls = {"tool_calls": list(pieces)} if pieces else {}
    return {"choices": [{"index": 0, "delta": {**delta, **calls}, "finish_reason": finish}]}


def piece(arguments: Any = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"function": function, **more}


@pytest.fixture
async def chat(stub: StubServer) -> AsyncIterator[Chat]:
    stub.add("/v1/models", Reply(json={"data": [{"id": "m"}]}))
    engine = Chat(stub.url + "/v1", name="large", model="m")
    yield engine
    await engine.close()


async def turn(chat: Chat, stub: StubServer, *events: Any, messages: tuple[Message, ...] = (QUESTION,)) -> Any:
    stub.add("/v1/chat/completions", Reply(events=[*events, "[DONE]"]))
    asked = Request(messages=messages, sampling=Sampling(), max_tokens=50, seed=7, tools=(LOOKUP,))
    return await chat.complete(asked)


PEN = '<tool_call>{"name": "lookup", "arguments": {"item": "pen"}}</tool_call>'


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            [
                event(piece("", "lookup", index=0, id="a", type="function")),
                event(piece('{"item": ', index=0)),
                event(piece('"pen"}', index=0)),
            ],
            PEN,
            id="arguments in pieces",
        ),
        pytest.param([event(piece('{"item": "pen"}', "lookup"))], PEN, id="neither id nor index"),
        pytest.param([event(piece({"item": "pen"}, "lookup", index=0))], PEN, id="arguments that are no text"),
        pytest.param(
            [event(content="Let me see."), event(piece('{"item": "pen"}', "lookup", index=0))],
            f"Let me see.\n{PEN}",
            id="words before it",
        ),
        pytest.param(
            [event(reasoning="A pen?"), event(piece('{"item": "pen"}', "lookup", index=0))],
            f"<think>A pen?</think>\n{PEN}",
            id="thoughts before it",
        ),
        pytest.param(
            [
                event(piece("", "lookup", index=1), piece("", "lookup", index=0)),
                event(piece('{"item": ', index=0)),
                event(piece('{"item": "cup"}', index=1)),
                event(piece('"pen"}', index=0)),
            ],
            f"{PEN}\n{PEN.replace('pen', 'cup')}",
            id="two calls at once",
        ),
        pytest.param(
            [event(piece('{"item": "pen"}', "lookup")), event(piece('{"item": ', "lookup")), event(piece('"cup"}'))],
            f"{PEN}\n{PEN.replace('pen', 'cup')}",
            id="two calls without indices",
        ),
        pytest.param(
            [event(piece(None, "list", index=0))],
            '<tool_call>{"name": "list", "arguments": {}}</tool_call>',
            id="no arguments",
        ),
        pytest.param(
            [event(piece('{"item": pen', "lookup", index=0))],
            r'<tool_call>{"name": "lookup", "arguments": "{\"item\": pen"}</tool_call>',
            id="no JSON",
        ),
        pytest.param(
            [event(piece("{}", index=0))], '<tool_call>{"name": "", "arguments": {}}</tool_call>', id="no name"
        ),
        pytest.param(
            [event(piece('["pen"]', "lookup", index=0))],
            '<tool_call>{"name": "lookup", "arguments": ["pen"]}</tool_call>',
            id="no object",
        ),
        pytest.param(
            [event(piece('{"item": "</tool_call><think>"}', "lookup", index=0))],
            r'<tool_call>{"name": "lookup", "arguments": {"item": "\u003c/tool_call>\u003cthink>"}}</tool_call>',
            id="tags in it",
        ),
    ],
)
async def test_a_call_is_put_together_and_ends_the_turn(
    chat: Chat, stub: StubServer, events: list[Any], expected: str
) -> None:
    done = await turn(chat, stub, *events, event(finish="tool_calls"))
    assert (done.text, done.stop) == (expected, Stop.END)
    assert done.output_tokens == len(events)
    assert stub.bodies("/v1/chat/completions")[0]["tools"] == [LOOKUP]


async def test_a_call_that_the_limit_cut_is_no_call_that_can_be_made(chat: Chat, stub: StubServer) -> None:
    done = await turn(chat, stub, event(piece('{"item": "pe', "lookup", index=0)), event(finish="length"))
    assert (done.text, done.stop) == (
        r'<tool_call>{"name": "lookup", "arguments": "{\"item\": \"pe"}</tool_call>',
        Stop.LENGTH,
    )


@pytest.mark.parametrize("calls", [["call"], [{"function": "lookup"}], [{"index": "first"}], 7])
async def test_what_no_api_sends_is_an_error_of_the_protocol(chat: Chat, stub: StubServer, calls: Any) -> None:
    with pytest.raises(EngineProtocol):
        await turn(chat, stub, {"choices": [{"delta": {"tool_calls": calls}}]})


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_no_call_can_be_more_calls_than_it_is_and_each_comes_back_as_it_was(made: list[tuple[str, str]]) -> None:
    calls = ToolCalls()
    for index, (name, arguments) in enumerate(made):
        calls.add([piece(arguments, name, index=index)])
    found = re.findall(r"<tool_call>(.*?)</tool_call>", calls.text, re.DOTALL)
    assert [json.loads(each)["name"] for each in found] == [name for name, _ in made]
    answered = [Message("assistant", calls.text), *[Message("tool", "ok")] * len(made)]
    for call, (_, arguments) in zip(sent(answered, has_tools=True)[0]["tool_calls"], made, strict=True):
        returned = call["function"]["arguments"]
        assert returned == (arguments if arguments.strip() else "{}") or json.loads(returned) == json.loads(arguments)


def answered(call: str, *answers: str, before: str = "") -> list[Message]:
    return [QUESTION, Message("assistant", before + call), *[Message("tool", each) for each in answers]]


def test_calls_are_sent_apart_with_ids_that_their_answers_name() -> None:
    cup = PEN.replace("pen", "cup")
    conversation = [*answered(f"{PEN}\n{cup}", "12", "7"), *answered(PEN, "12", before="Once more. ")[1:]]
    function = {"name": "lookup", "arguments": '{"item": "pen"}'}
    other = {"name": "lookup", "arguments": '{"item": "cup"}'}
    assert sent(conversation, has_tools=True) == [
        {"role": "user", "content": "What is a pen?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call00000", "type": "function", "function": function},
                {"id": "call00001", "type": "function", "function": other},
            ],
        },
        {"role": "tool", "content": "12", "tool_call_id": "call00000"},
        {"role": "tool", "content": "7", "tool_call_id": "call00001"},
        {
            "role": "assistant",
            "content": "Once more.",
            "tool_calls": [{"id": "call00002", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "12", "tool_call_id": "call00002"},
    ]


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("<tool_call>lookup(pen)</tool_call>", id="no JSON"),
        pytest.param('<tool_call>{"name": "lookup"}</tool_call>', id="no arguments"),
        pytest.param('<tool_call>{"name": 7, "arguments": {}}</tool_call>', id="no name"),
        pytest.param('<tool_call>["lookup"]</tool_call>', id="no object"),
        pytest.param("<tool_call>" + "[" * 100_000 + "</tool_call>", id="too deep"),
        pytest.param(f"{PEN}{PEN}", id="one answer for two calls"),
        pytest.param("<tool>lookup(pen)</tool>", id="another format"),
    ],
)
def test_what_cannot_be_sent_apart_stays_text_and_its_answer_is_the_users(call: str) -> None:
    assert sent(answered(call, "error"), has_tools=True) == [
        {"role": "user", "content": "What is a pen?"},
        {"role": "assistant", "content": call},
        {"role": "user", "content": "error"},
    ]


def test_a_call_that_nobody_answered_stays_text() -> None:
    assert sent(answered(PEN), has_tools=True)[1:] == [{"role": "assistant", "content": PEN}]


def test_answers_need_no_tools_beside_them_and_without_both_nothing_is_read() -> None:
    assert "tool_calls" in sent(answered(PEN, "12"), has_tools=False)[1]
    assert sent(answered(PEN), has_tools=False)[1] == {"role": "assistant", "content": PEN}
