"""The dialect of llama.cpp, spoken with a server that answers as scripted."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from stub_server import Answer, Reply, Seen, StubServer

from orchestrator.engines.base import Chain, Request
from orchestrator.engines.dialects.llamacpp import LlamaCpp
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import (
    BadConfig,
    ContextExceeded,
    EngineProtocol,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
)
from orchestrator.types import Message, Sampling, Stop

BEGIN, END = 1, 3  # this vocabulary's first and last token; every other id is a byte plus 10


def ids_of(text: str) -> list[int]:
    return [byte + 10 for byte in text.encode()]


def text_of(ids: list[int]) -> str:
    spelled_ids = [b"</s>" if id_ == END else bytes([id_ - 10]) for id_ in ids if id_ != BEGIN]
    return b"".join(spelled_ids).decode("utf-8", "replace")


def tokenize(seen: Seen) -> Reply:
    first = [BEGIN] if seen.body["add_special"] else []
    if seen.body.get("parse_special") and seen.body["content"] == "<|im_start|>":
        return Reply(json={"tokens": [2]})
    return Reply(json={"tokens": first + ids_of(seen.body["content"])})


def detokenize(seen: Seen) -> Reply:
    return Reply(json={"content": text_of(seen.body["tokens"])})


def template(seen: Seen) -> Reply:
    turns = "".join(f"<{message['role']}>{message['content']}</>" for message in seen.body["messages"])
    return Reply(json={"prompt": turns + "<assistant>" + str(seen.body.get("chat_template_kwargs", ""))})


def trial(**changes: Any) -> Reply:
    top = [{"id": 75, "token": "A", "logprob": -0.1}] * 100
    entry = {"id": 75, "token": "A", "logprob": -0.1, "top_logprobs": top}
    reply = {
        "content": "AA",
        "tokens": [75, 75],
        "tokens_predicted": 2,
        "tokens_evaluated": 9,
        "stop_type": "limit",
        "timings": {"cache_n": 8},
        "completion_probabilities": [entry, entry],
    }
    return Reply(json={**reply, **changes})


def card(model: str = "/srv/tiny.gguf", owner: str = "llamacpp") -> Reply:
    return Reply(json={"data": [{"id": model, "owned_by": owner}]})


def props(chat_template: str = "{{ messages }}", n_ctx: int = 64) -> Reply:
    settings = {"n_ctx": n_ctx}
    return Reply(
        json={"default_generation_settings": settings, "chat_template": chat_template, "build_info": "b7000-abc"}
    )


def scripted(stub: StubServer, *completions: Answer, **answers: Answer) -> LlamaCpp:
    """Return an engine whose server answers the probes as a llama.cpp and then with `completions`."""
    stub.add("/v1/models", answers.get("models", card()))
    stub.add("/props", answers.get("props", props()))
    stub.add("/tokenize", tokenize)
    stub.add("/detokenize", detokenize)
    stub.add("/apply-template", answers.get("template", template))
    probe = answers.get("trial", trial())
    stub.add("/completion", probe, probe, *completions)
    return LlamaCpp(stub.url, name="small", timeout_s=5)


def request(max_tokens: int = 20, prompt: str = "Q", **options: Any) -> Request:
    options = {"sampling": Sampling(temperature=0), "seed": 7, **options}
    return Request(prompt=Chain([BEGIN, *ids_of(prompt)]).prefix(), max_tokens=max_tokens, **options)


def token(content: str, id_: int | None, predicted: int, **more: Any) -> dict[str, Any]:
    return {"content": content, "tokens": [] if id_ is None else [id_], "tokens_predicted": predicted, **more}


def last(stop_type: str, predicted: int, stopping_word: str = "", **more: Any) -> dict[str, Any]:
    timings = {"cache_n": 1}
    return (
        token(
            "", None, predicted, stop_type=stop_type, stopping_word=stopping_word, tokens_evaluated=2, timings=timings
        )
        | more
    )


def spelled(text: str) -> list[dict[str, Any]]:
    return [token(letter, ord(letter) + 10, place + 1) for place, letter in enumerate(text)]


# --- starting -------------------------------------------------------------------------------------


async def test_what_the_server_can_do_is_found_by_trying(stub: StubServer) -> None:
    engine = scripted(stub)
    found = await engine.start()
    assert (found.server, found.model, found.context) == ("llama.cpp b7000-abc", "tiny", 64)
    assert (found.token_ids, found.logprobs, found.cached_tokens, found.chat_template) == (True, 100, True, True)
    assert found.missing == {}
    await engine.close()


async def test_callers_that_start_together_share_one_probe(stub: StubServer) -> None:
    engine = scripted(stub)
    impatient = asyncio.create_task(engine.start())
    others = [asyncio.create_task(engine.start()) for _ in range(5)]
    await asyncio.sleep(0)
    impatient.cancel()
    found = await asyncio.gather(*others)
    assert all(one is found[0] for one in found)
    assert len(stub.bodies("/completion")) == 2
    await engine.close()


async def test_a_failed_start_is_tried_again_by_the_next_caller(stub: StubServer) -> None:
    engine = scripted(stub, models=Reply(status=400, json={}))
    with pytest.raises(EngineRejected):
        await engine.start()
    stub.add("/v1/models", card(), card())
    with pytest.raises(EngineRejected):  # the scripted refusal is used up by this one
        await engine.start()
    assert (await engine.start()).model == "tiny"
    await engine.close()


async def test_what_is_missing_has_its_reason(stub: StubServer) -> None:
    bare = trial(tokens=[], timings={}, completion_probabilities=[])
    engine = scripted(stub, trial=bare, props=props(chat_template=""))
    found = await engine.start()
    assert (found.token_ids, found.logprobs, found.cached_tokens, found.chat_template) == (False, 0, False, False)
    assert set(found.missing) == {"token_ids", "logprobs", "cached_tokens", "chat_template"}
    assert all(found.missing.values())
    await engine.close()


@pytest.mark.parametrize("url", ["", "/", "/v1", "/v1/"])
async def test_the_address_may_be_given_as_for_other_servers(stub: StubServer, url: str) -> None:
    scripted(stub)
    engine = LlamaCpp(stub.url + url, name="small", model="tiny.gguf")
    assert (await engine.start()).model == "tiny"
    await engine.close()


async def test_another_kind_of_server_is_named(stub: StubServer) -> None:
    engine = scripted(stub, models=card("QwQ-32B", "vllm"))
    with pytest.raises(EngineRejected, match=f"kind 'vllm' answers at {stub.url}, not llama.cpp"):
        await engine.start()
    await engine.close()


async def test_a_server_of_no_kind_we_know_is_refused_in_one_line(stub: StubServer) -> None:
    stub.add("/v1/models", Reply(text="<html>It works!</html>"))
    engine = LlamaCpp(stub.url, name="small")
    with pytest.raises(EngineProtocol) as raised:
        await engine.start()
    assert "\n" not in str(raised.value)
    await engine.close()


async def test_a_model_that_is_not_served_is_refused_naming_what_is(stub: StubServer) -> None:
    scripted(stub)
    engine = LlamaCpp(stub.url, name="small", model="large")
    with pytest.raises(EngineRejected, match="no model 'large'; it serves: tiny"):
        await engine.start()
    await engine.close()


def test_a_spec_without_an_address_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"engine 'small'.*url"):
        LlamaCpp.from_spec("small", EngineSpec(kind="llamacpp"))


# --- prompts --------------------------------------------------------------------------------------


async def test_the_first_token_is_there_once_whoever_writes_it(stub: StubServer) -> None:
    engine = scripted(stub)
    ids = await engine.render((Message("user", "Hi"),))
    assert ids == [BEGIN, *ids_of("<user>Hi</><assistant>")]
    stub._answers["/tokenize"] = [Reply(json={"tokens": [BEGIN, 50]})]
    assert await engine.render((Message("user", "Hi"),)) == [BEGIN, 50]
    await engine.close()


@pytest.mark.parametrize(("think", "shown"), [(None, ""), (True, "True"), (False, "False")])
async def test_thinking_is_switched_only_when_asked(stub: StubServer, think: bool | None, shown: str) -> None:
    engine = scripted(stub)
    text = text_of(await engine.render((Message("user", "Hi"),), think=think))
    assert text == "<user>Hi</><assistant>" + (f"{{'enable_thinking': {shown}}}" if shown else "")
    await engine.close()


async def test_a_borrowed_template_is_not_used(stub: StubServer) -> None:
    engine = scripted(stub, props=props(chat_template="{{ '<|im_start|>' }}"))
    stub._answers["/tokenize"] = [lambda seen: Reply(json={"tokens": ids_of(seen.body["content"])})]
    assert not (await engine.start()).chat_template
    assert text_of(await engine.render((Message("user", "Hi"),))) == "User: Hi\n\nAssistant:"
    assert text_of(await engine.interject("Well?", "Score:")) == "\n\nUser: Well?\n\nAssistant: Score:"
    assert stub.bodies("/apply-template") == []
    await engine.close()


async def test_an_interjection_is_asked_for_once(stub: StubServer) -> None:
    engine = scripted(stub)
    await engine.start()
    stub.seen.clear()
    for _ in range(3):
        ids = await engine.interject("Well?", "Score:")
        assert text_of(ids) == "</><user>Well?</><assistant>Score:"
        ids.clear()
    assert len(stub.bodies("/apply-template")) == 1
    await engine.close()


async def test_interjections_are_not_remembered_without_end(stub: StubServer) -> None:
    engine = scripted(stub)
    await engine.start()
    stub.seen.clear()
    for number in [*range(100), 0, 99]:
        assert text_of(await engine.interject(f"{number}?", "")) == f"</><user>{number}?</><assistant>"
    assert len(stub.bodies("/apply-template")) == 101  # the first was forgotten, the last was not
    await engine.close()


def deaf_template(seen: Seen) -> Reply:
    """Honours no switch, and refuses tools."""
    if seen.body["messages"][-1]["role"] == "tool":
        return Reply(status=400, json={"error": {"code": 400, "message": "roles must alternate"}})
    return template(seen._replace(body={"messages": seen.body["messages"]}))


async def test_a_tool_s_answer_is_the_user_s_where_the_template_refuses_tools(stub: StubServer) -> None:
    engine = scripted(stub, template=deaf_template)
    assert "roles must alternate" in (await engine.start()).missing["tool_role"]
    assert text_of(await engine.interject("12", "", role="tool")) == "</><user>12</><assistant>"
    await engine.close()


async def test_a_tool_s_answer_is_tokenised_as_data(stub: StubServer) -> None:
    engine = scripted(stub)
    ids = await engine.interject("12</think><|im_start|>", "", role="tool")
    assert text_of(ids) == "</><tool>12</think><|im_start|></><assistant>"
    read = {body["content"]: body.get("parse_special") for body in stub.bodies("/tokenize")}
    parts = ("</><tool>", "12</think", "><|im_start|>", "</><assistant>")
    assert [read[part] for part in parts] == [True, False, False, True]
    await engine.close()


@pytest.mark.parametrize(("answer", "expected"), [(template, "template"), (deaf_template, "")])
async def test_how_thinking_is_switched_is_found_by_trying(stub: StubServer, answer: Answer, expected: str) -> None:
    """The tags of thinking are no tokens of this vocabulary."""
    engine = scripted(stub, template=answer)
    assert (await engine.start()).think_switch == expected
    await engine.close()


async def test_a_template_that_drops_the_assistant_s_words_is_reported(stub: StubServer) -> None:
    engine = scripted(stub, template=Reply(json={"prompt": "<user>"}))
    with pytest.raises(EngineProtocol, match="drops the assistant's words"):
        await engine.interject("Well?", "")
    await engine.close()


# --- completing -----------------------------------------------------------------------------------


async def test_a_stream_is_put_together(stub: StubServer) -> None:
    engine = scripted(stub, Reply(events=[*spelled("so"), last("limit", 2)]))
    call = request()
    answer = await engine.complete(call)
    assert (answer.text, answer.ids, answer.stop) == ("so", ids_of("so"), Stop.LENGTH)
    assert (answer.prompt_tokens, answer.cached_tokens, answer.output_tokens) == (2, 1, 2)
    assert call.progress.output_tokens == 2
    assert answer.logprobs is None
    assert 0 < answer.first_token_s <= answer.seconds
    await engine.close()


async def test_the_request_says_all_that_shapes_the_text(stub: StubServer) -> None:
    engine = scripted(stub, Reply(events=[last("limit", 0)]))
    await engine.complete(request(sampling=Sampling(temperature=0.6, top_p=0.95), stop=("\n\n",), logprobs=3))
    await engine.complete(request())
    hot, greedy = stub.bodies("/completion")[2:]
    assert hot["prompt"] == [BEGIN, *ids_of("Q")]
    assert (hot["n_predict"], hot["seed"], hot["n_probs"], hot["stop"]) == (20, 7, 3, ["\n\n"])
    assert hot["samplers"] == ["temperature", "min_p", "top_k", "top_p"]
    assert (hot["temperature"], hot["top_p"], hot["top_k"], hot["min_p"]) == (0.6, 0.95, 0, 0.0)
    assert (greedy["temperature"], greedy["samplers"], greedy["top_k"]) == (0.0, ["top_k"], 1)
    assert hot["stream"] and hot["return_tokens"] and hot["cache_prompt"]
    await engine.close()


async def test_what_the_last_token_carries_past_the_delimiter_is_kept(stub: StubServer) -> None:
    events = [*spelled("ab"), token("", 20, 3), token("", 20, 4), last("word", 4, "\n\n")]
    engine = scripted(stub, Reply(events=events))
    answer = await engine.complete(request(stop=("\n\n",)))
    assert (answer.text, answer.stop, answer.stop_text) == ("ab\n\n", Stop.DELIMITER, "\n\n")
    assert answer.ids == ids_of("ab\n\n")
    await engine.close()


async def test_the_end_of_text_token_is_counted_and_not_kept(stub: StubServer) -> None:
    engine = scripted(stub, Reply(events=[*spelled("ab"), token("", END, 3), last("eos", 3)]))
    answer = await engine.complete(request())
    assert (answer.text, answer.ids, answer.stop) == ("ab", ids_of("ab"), Stop.END)
    assert answer.output_tokens == 3
    await engine.close()


async def test_text_the_server_held_back_at_the_limit_is_restored(stub: StubServer) -> None:
    events = [*spelled("a"), token("", ord("<") + 10, 2), token("", ord("/") + 10, 3), last("limit", 3)]
    engine = scripted(stub, Reply(events=events))
    answer = await engine.complete(request(stop=("</t>",)))
    assert (answer.text, answer.ids) == ("a</", ids_of("a</"))
    await engine.close()


async def test_text_that_was_held_back_and_released_is_not_asked_about_again(stub: StubServer) -> None:
    events = [token("", 20, 1), token("\nb", ord("b") + 10, 2), last("limit", 2)]
    engine = scripted(stub, Reply(events=events), Reply(events=events))
    for _ in range(2):
        stub.seen.clear()
        answer = await engine.complete(request(stop=("\n\n",)))
        assert (answer.text, answer.ids) == ("\nb", ids_of("\nb"))
    assert [seen.path for seen in stub.seen] == ["/completion"]
    await engine.close()


async def test_ids_of_a_character_without_events_are_found_again(stub: StubServer) -> None:
    top = [{"id": 5, "token": "x", "logprob": -2.0}]
    probabilities = [{"id": ids_of("é")[1], "token": "\ufffd", "logprob": -0.5, "top_logprobs": top}]
    events = [
        *spelled("a"),
        token("é", ids_of("é")[1], 3, completion_probabilities=probabilities),
        last("limit", 3),
    ]
    events[0]["completion_probabilities"] = [{"id": 107, "token": "a", "logprob": -0.2, "top_logprobs": top}]
    engine = scripted(stub, Reply(events=events))
    answer = await engine.complete(request(logprobs=1))
    assert (answer.text, answer.ids, answer.output_tokens) == ("aé", ids_of("aé"), 3)
    assert [entry.id for entry in answer.logprobs] == answer.ids
    logprobs = [entry.logprob for entry in answer.logprobs]
    assert logprobs[0] == -0.2 and math.isnan(logprobs[1]) and logprobs[2] == -0.5
    await engine.close()


async def test_half_a_character_at_the_limit_is_counted_and_dropped(stub: StubServer) -> None:
    engine = scripted(stub, Reply(events=[*spelled("a"), last("limit", 3)]))
    answer = await engine.complete(request())
    assert (answer.text, answer.ids, answer.output_tokens) == ("a", ids_of("a"), 3)
    await engine.close()


async def test_where_the_server_returns_no_ids_the_text_is_tokenised(stub: StubServer) -> None:
    events = [{"content": "ab", "tokens_predicted": 2}, last("word", 4, "\n\n")]
    engine = scripted(stub, Reply(events=events))
    answer = await engine.complete(request(stop=("\n\n",)))
    assert (answer.text, answer.ids, answer.output_tokens) == ("ab\n\n", ids_of("ab\n\n"), 4)
    await engine.close()


async def test_one_token_comes_in_one_piece(stub: StubServer) -> None:
    top = [{"id": 65, "token": "7", "logprob": -0.1}, {"id": 66, "token": "8", "logprob": -2.4}]
    entry = {"id": 65, "token": "7", "logprob": -0.1, "top_logprobs": top}
    whole = last("limit", 1, content="7", tokens=[65], completion_probabilities=[entry])
    engine = scripted(stub, Reply(json=whole))
    call = request(max_tokens=1, logprobs=2)
    answer = await engine.complete(call)
    assert (answer.text, answer.ids, call.progress.output_tokens) == ("7", [65], 1)
    assert [(rival.text, rival.logprob) for rival in answer.logprobs[0].top] == [("7", -0.1), ("8", -2.4)]
    assert answer.first_token_s is None
    assert "stream" not in stub.bodies("/completion")[-1]
    await engine.close()


async def test_a_prompt_that_does_not_fit_is_not_sent(stub: StubServer) -> None:
    engine = scripted(stub, Reply(events=[last("limit", 0)]), props=props(n_ctx=8))
    await engine.complete(request(prompt="1234567"[:6]))
    with pytest.raises(ContextExceeded) as raised:
        await engine.complete(request(prompt="1234567"))
    assert (raised.value.prompt_tokens, raised.value.context) == (8, 8)
    assert len(stub.bodies("/completion")) == 3
    await engine.close()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(events=spelled("ab")), EngineUnavailable),
        (Reply(events=[*spelled("ab"), "[DONE]"]), EngineUnavailable),
        (Reply(events=[*spelled("ab"), "x"], break_after=2), EngineUnavailable),
        (Reply(events=[*spelled("ab"), {"error": {"code": 500, "message": "out of memory"}}]), EngineUnavailable),
        (Reply(events=[*spelled("ab"), {"tokens": []}]), EngineProtocol),
        (Reply(events=[*spelled("ab"), last("bored", 2)]), EngineProtocol),
        (Reply(events=[*spelled("ab"), "not json"]), EngineProtocol),
        (Reply(events=[*spelled("ab"), last("limit", 2)], gap_s=0.4), EngineTimeout),
    ],
    ids=["ended", "done", "broken", "error", "shape", "word", "garbage", "late"],
)
async def test_a_completion_that_fails_is_tried_once_and_says_how_far_it_came(
    stub: StubServer, reply: Reply, kind: type[Exception]
) -> None:
    engine = scripted(stub, reply)
    await engine.start()
    with pytest.raises(kind) as raised:
        await engine.complete(request(timeout_s=0.7))
    assert raised.value.engine == "small"
    assert raised.value.output_tokens == 2
    assert len(stub.bodies("/completion")) == 3
    await engine.close()


async def test_a_cancelled_call_has_counted_what_arrived(stub: StubServer) -> None:
    engine = scripted(stub, Reply(events=spelled("abcdefgh"), gap_s=0.1))
    call = request()
    running = asyncio.create_task(engine.complete(call))
    while call.progress.output_tokens < 2:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert 2 <= call.progress.output_tokens < 8
    await engine.close()


async def test_a_conversation_can_be_completed_without_a_prompt(stub: StubServer) -> None:
    engine = scripted(stub, Reply(events=[*spelled("so"), last("limit", 2)]))
    messages = (Message("user", "Hi"),)
    call = Request(messages=messages, sampling=Sampling(), seed=1, max_tokens=5)
    assert (await engine.complete(call)).text == "so"
    assert stub.bodies("/completion")[-1]["prompt"] == await engine.render(messages)
    await engine.close()
