"""`--small URL` and `--large URL`: the kind of server is found out; a server that will not do is one line."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

sys.path.append(str(Path(__file__).parent.parent / "engines"))

from fake_vllm import END, FakeVllm, ids, said, usage
from stub_server import Reply, StubServer

from orchestrator.engines.detect import detect
from orchestrator.errors import BadConfig, EngineRejected, EngineUnavailable

Call = Callable[..., Result]

MODELS = Reply(json={"object": "list", "data": [{"id": "tiny", "object": "model"}]})


@pytest.fixture
def server() -> Iterator[StubServer]:
    """A stub server with an event loop of its own, for commands that bring theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stub = StubServer()
    asyncio.run_coroutine_threadsafe(stub.__aenter__(), loop).result()
    yield stub
    asyncio.run_coroutine_threadsafe(stub.__aexit__(), loop).result()
    # A connection that was just accepted or closed lets go of its socket in a later turn of the loop.
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize(
    ("path", "reply", "kind"),
    [
        ("/version", {"version": "0.32.0"}, "vllm"),
        ("/props", {"default_generation_settings": {}, "chat_template": ""}, "llamacpp"),
        ("/v1/models", {"data": []}, "chat"),
    ],
)
@pytest.mark.parametrize("closing", ["", "/v1", "/v1/"])
def test_the_kind_of_a_server_is_found_out(
    server: StubServer, path: str, reply: dict[str, object], kind: str, closing: str
) -> None:
    server.add(path, Reply(json=reply))
    assert asyncio.run(detect("small", server.url + closing)) == kind


def test_a_server_of_another_kind_says_what_was_tried(server: StubServer) -> None:
    server.add("/version", Reply(text="<html>hello</html>"))
    with pytest.raises(EngineRejected) as caught:
        asyncio.run(detect("small", server.url))
    assert str(caught.value).startswith(f"engine 'small' at {server.url}: no vLLM, llama.cpp or chat server was ")
    assert "(tried /version, /props, /v1/models)" in str(caught.value)


def test_nobody_at_the_address_and_no_address_are_told_apart() -> None:
    with pytest.raises(EngineUnavailable, match=r"http://127\.0\.0\.1:9"):
        asyncio.run(detect("small", "http://127.0.0.1:9"))
    with pytest.raises(BadConfig, match="write it like http"):
        asyncio.run(detect("small", "nonsense"))


def test_a_model_that_is_not_served_is_one_line_that_lists_those_that_are(
    server: StubServer, orchestrator: Call
) -> None:
    server.add("/version", Reply(json={"version": "0.32.0"}))
    server.add("/v1/models", MODELS)
    done = orchestrator("run", "x", "--small", f"{server.url}/v1#huge", "--large", f"{server.url}/v1#tiny")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: engine 'small': the server has no model 'huge'; it serves: tiny\n"


def test_a_question_runs_over_a_server_with_nothing_set_up(
    server: StubServer, orchestrator: Call, settle: Callable[[str], str]
) -> None:
    fake = FakeVllm(server, context=1000)
    fake.answer(said(ids("Answer: 42")), said([END], finish_reason="stop"), usage(20, 11, 0))
    done = orchestrator("run", "What is 6*7?", "--small", f"{server.url}/v1", "--router", "small")
    assert (done.exit_code, done.stdout) == (0, "42\n"), done.stderr
    assert fake.sent[0]["temperature"] == 0.6
    shown = orchestrator("trace", "show").stdout
    assert "engines  small: m on vllm 0.32.0" in shown


def test_an_unreachable_server_is_one_line_that_says_what_was_tried(orchestrator: Call) -> None:
    done = orchestrator("run", "x", "--small", "http://127.0.0.1:9/v1")
    assert (done.exit_code, done.stdout) == (3, "")
    assert (
        done.stderr == "error: engine 'small' at http://127.0.0.1:9/version: nothing listens there; start the server\n"
    )


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--router", "nope"], "command line: router.name: no router named 'nope'"),
        (["--router-option", "thresold=3"], "command line: router.thresold: no such key; did you mean 'threshold'?"),
        (["--concurrency", "0"], "command line: run: concurrency = 0 must be at least 1"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_flag_is_told_before_any_server_is_asked(orchestrator: Call, flags: list[str], told: str) -> None:
    done = orchestrator("run", "x", "--small", "http://127.0.0.1:9", *flags)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {told}")


def test_a_chat_server_may_be_given_without_its_v1(server: StubServer, orchestrator: Callable[..., Result]) -> None:
    server.add("/v1/models", Reply(json={"data": [{"id": "m"}]}))
    turn = {"choices": [{"index": 0, "delta": {"content": "Answer: 4"}, "finish_reason": "stop"}]}
    server.add("/v1/chat/completions", Reply(events=[turn, "[DONE]"]))
    done = orchestrator("run", "2+2?", "--small", server.url, "--router", "small")
    assert (done.exit_code, done.stdout) == (0, "4\n"), done.stderr
