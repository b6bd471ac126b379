"""Engines behind a chat-only API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from stub_server import Reply, StubServer

from orchestrator.engines.base import Chain, Request
from orchestrator.engines.dialects.chat import Chat
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import BadConfig, EngineRejected, EngineUnavailable, MissingCapability
from orchestrator.types import Message, Sampling, Stop

QUESTION = (Message("system", "Be short."), Message("user", "2+2?"))
Build = Callable[..., Chat]


def request(**options: Any) -> Request:
    given = {"messages": QUESTION, "sampling": Sampling(), "max_tokens": 50, "seed": 7}
    return Request(**given | options)


def delta(finish: str | None = None, **delta: str | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


USAGE = {
    "choices": [],
    "usage": {"prompt_tokens": 30, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 16}},
}


@pytest.fixture
async def engine(stub: StubServer) -> AsyncIterator[Build]:
    """Build engines on the stub; all are closed at the end."""
    stub.add("/v1/models", Reply(json={"data": [{"id": "m"}, {"id": "n", "context_length": 8192}]}))
    built: list[Chat] = []

    def build(**options: Any) -> Chat:
        built.append(Chat(stub.url + "/v1", name="large", **{"model": "m"} | options))
        return built[-1]

    yield build
    for one in built:
        await one.close()


def answers(stub: StubServer, *events: Any, **reply: Any) -> None:
    stub.add("/v1/chat/completions", Reply(events=[*events, "[DONE]"], **reply))


async def test_a_chat_engine_says_that_it_cannot_continue_and_why(engine: Build) -> None:
    can = await engine().start()
    assert (can.continues, can.token_ids, can.logprobs, can.tokenizer) == (False, False, 0, "")
    assert "step routers" in can.missing["continues"]
    assert "context" in can.missing


async def test_a_context_the_api_tells_is_believed(engine: Build) -> None:
    can = await engine(model="n").start()
    assert can.context == 8192
    assert "context" not in can.missing


async def test_a_turn_is_written_from_messages(stub: StubServer, engine: Build) -> None:
    answers(stub, delta(role="assistant", content=""), delta(content="4"), delta("stop", content="."), USAGE)
    done = await engine().complete(request())
    assert (done.text, done.stop, done.ids) == ("4.", Stop.END, ())
    assert (done.prompt_tokens, done.cached_tokens, done.output_tokens) == (30, 16, 9)
    assert stub.bodies("/v1/chat/completions") == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "2+2?"}],
            "max_tokens": 50,
            "temperature": 0.6,
            "top_p": 0.95,
            "seed": 7,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


async def test_what_not_every_api_knows_is_sent_only_when_it_says_something(stub: StubServer, engine: Build) -> None:
    answers(stub, delta("stop", content="4"))
    await engine().complete(request(sampling=Sampling(top_k=20, min_p=0.1), stop=("\n\n",)))
    body = stub.bodies("/v1/chat/completions")[0]
    assert (body["top_k"], body["min_p"], body["stop"]) == (20, 0.1, ["\n\n"])


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_thoughts_that_the_server_sets_apart_come_back_in_front(
    stub: StubServer, engine: Build, field: str
) -> None:
    answers(stub, delta(**{field: "Two and "}), delta(**{field: "two."}), delta("stop", content="4"))
    done = await engine().complete(request())
    assert done.text == "<think>Two and two.</think>\n4"


async def test_thoughts_cut_by_the_limit_stay_open(stub: StubServer, engine: Build) -> None:
    answers(stub, delta(reasoning="Two and"), delta("length"))
    done = await engine().complete(request())
    assert (done.text, done.stop) == ("<think>Two and", Stop.LENGTH)


async def test_thoughts_that_nothing_follows_stay_open(stub: StubServer, engine: Build) -> None:
    answers(stub, delta(reasoning="Two and two."), delta("stop"))
    done = await engine().complete(request())
    assert (done.text, done.stop) == ("<think>Two and two.", Stop.END)


async def test_without_usage_the_pieces_are_counted(stub: StubServer, engine: Build) -> None:
    answers(stub, delta(content="a"), delta(content="b"), delta("stop"))
    done = await engine().complete(request())
    assert (done.output_tokens, done.cached_tokens) == (2, None)


async def test_what_had_arrived_is_known_after_a_cancellation(stub: StubServer, engine: Build) -> None:
    answers(stub, delta(content="a"), delta(content="b"), delta(content="c"), gap_s=0.2)
    asked = request()
    call = asyncio.create_task(engine().complete(asked))
    while asked.progress.output_tokens < 2:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert asked.progress.output_tokens == 2


@pytest.mark.parametrize(
    ("reply", "arrived"),
    [
        pytest.param(Reply(events=[delta(content="a"), delta(content="b")], break_after=1), 1, id="connection broken"),
        pytest.param(Reply(events=[delta(content="a"), "[DONE]"]), 1, id="no reason given"),
    ],
)
async def test_a_turn_that_breaks_off_is_unavailable_and_says_how_much_had_arrived(
    stub: StubServer, engine: Build, reply: Reply, arrived: int
) -> None:
    stub.add("/v1/chat/completions", reply)
    with pytest.raises(EngineUnavailable) as broken:
        await engine().complete(request())
    assert broken.value.output_tokens == arrived


async def test_a_turn_that_the_server_withholds_is_not_tried_again(stub: StubServer, engine: Build) -> None:
    answers(stub, delta(content="a"), delta("content_filter"))
    with pytest.raises(EngineRejected, match="content_filter") as withheld:
        await engine().complete(request())
    assert withheld.value.output_tokens == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda chat: chat.render(QUESTION),
        lambda chat: chat.interject("Rate it.", "Score:"),
        lambda chat: chat.encode("text"),
        lambda chat: chat.complete(request(messages=None, prompt=Chain([1]).prefix())),
        lambda chat: chat.complete(request(logprobs=3)),
    ],
)
async def test_what_a_chat_api_cannot_do_is_refused_in_one_line(
    stub: StubServer, engine: Build, ask: Callable[[Chat], Any]
) -> None:
    with pytest.raises(MissingCapability, match="engine 'large' is a chat-only API") as refused:
        await ask(engine())
    assert "\n" not in str(refused.value)
    assert stub.bodies("/v1/chat/completions") == []


async def test_a_model_that_is_not_listed_is_refused_by_naming_what_is(engine: Build) -> None:
    with pytest.raises(EngineRejected, match="no model 'x'; it serves: m, n"):
        await engine(model="x").start()


async def test_an_api_without_a_list_is_taken_at_its_word(stub: StubServer, engine: Build) -> None:
    stub._answers["/v1/models"] = []
    can = await engine(model="x").start()
    assert can.model == "x"
    assert "could not be checked" in can.missing["models"]


async def test_the_key_goes_out_as_a_bearer_and_into_nothing_else(stub: StubServer, engine: Build) -> None:
    chat = engine(api_key="sk-secret")
    can = await chat.start()
    assert stub.seen[0].headers["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in repr(can) + repr(chat)


def test_a_spec_without_an_address_is_a_mistake_in_the_config() -> None:
    with pytest.raises(BadConfig, match="engine 'large': give the url"):
        Chat.from_spec("large", EngineSpec(kind="chat"))


async def test_a_character_that_was_cut_in_two_or_is_no_utf8_costs_no_text(engine: Build, stub: StubServer) -> None:
    def event(content: bytes) -> bytes:
        return b'data: {"choices": [{"index": 0, "delta": {"content": "' + content + b'"}}]}\n\n'

    pieces = [event(b"so "), event(rb"\ud83d"), event(rb"\ude00"), event(b" \xff\xfe 4")]
    pieces += [f"data: {json.dumps(delta('stop'))}\n\n".encode(), b"data: [DONE]\n\n"]
    stub.add("/v1/chat/completions", Reply(chunks=pieces))
    completion = await engine().complete(request())
    assert completion.text == "so \N{GRINNING FACE} \ufffd\ufffd 4"
