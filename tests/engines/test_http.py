"""One server's address, key and connections."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stub_server import Reply, StubServer

from orchestrator.engines.http import Transport
from orchestrator.engines.retry import RetryPolicy, retry
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.sse import EventDecoder
from orchestrator.errors import BadConfig, EngineProtocol, EngineTimeout, EngineUnavailable

QUICK = RetryPolicy(base_s=0.01)


def transport(stub: StubServer, **options: object) -> Transport:
    return Transport("small", stub.url, **options)


async def events(line: Transport, path: str = "/completion", **options: float) -> list[dict]:
    async with aclosing(line.stream(path, {}, **options)) as stream:
        return [event async for events in stream for event in events]


async def test_json_goes_out_and_comes_back(stub: StubServer) -> None:
    stub.add("/tokenize", lambda seen: Reply(json={"tokens": [len(seen.body["content"])]}))
    line = transport(stub)
    assert await line.post("/tokenize", {"content": "héllo"}) == {"tokens": [5]}
    assert stub.seen[0].method == "POST"
    await line.close()


async def test_the_key_is_sent_and_never_shown(stub: StubServer) -> None:
    stub.add("/props", Reply(json={}))
    line = transport(stub, api_key="sk-secret")
    await line.get("/props")
    assert stub.seen[0].headers["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in repr(line)
    await line.close()


async def test_helper_calls_are_tried_again(stub: StubServer) -> None:
    stub.add("/tokenize", Reply(reset=True), Reply(status=503), Reply(json={"ok": True}))
    line = transport(stub, retries=QUICK)
    assert await line.post("/tokenize", {}) == {"ok": True}
    assert len(stub.seen) == 3
    await line.close()


async def test_helper_calls_end_with_the_last_error(stub: StubServer) -> None:
    stub.add("/props", Reply(status=503))
    line = transport(stub, retries=QUICK)
    with pytest.raises(EngineUnavailable):
        await line.get("/props")
    assert len(stub.seen) == 4
    await line.close()


async def test_completions_are_tried_once(stub: StubServer) -> None:
    stub.add("/completion", Reply(status=503))
    line = transport(stub)
    with pytest.raises(EngineUnavailable):
        await line.once("/completion", {})
    with pytest.raises(EngineUnavailable):
        await events(line)
    assert len(stub.seen) == 2
    await line.close()


async def test_a_stream_yields_its_events_and_ends_at_done(stub: StubServer) -> None:
    stub.add("/completion", Reply(events=[{"n": 1}, {"n": 2}, "[DONE]", {"n": 3}]))
    line = transport(stub)
    assert await events(line) == [{"n": 1}, {"n": 2}]
    await line.close()


async def test_a_stream_without_done_ends_with_the_connection(stub: StubServer) -> None:
    stub.add("/completion", Reply(chunks=[b': hello\n\ndata: {"n":1}\r\n\r\n', b'data: {"n":2}\n']))
    line = transport(stub)
    assert await events(line) == [{"n": 1}, {"n": 2}]
    await line.close()


async def test_a_stream_that_breaks_off_is_unavailable(stub: StubServer) -> None:
    stub.add("/completion", Reply(events=[{"n": 1}, {"n": 2}], break_after=1))
    line = transport(stub)
    seen = []
    with pytest.raises(EngineUnavailable):
        async for events in line.stream("/completion", {}):
            seen += events
    assert seen == [{"n": 1}]
    await line.close()


async def test_an_error_in_mid_stream_is_raised(stub: StubServer) -> None:
    stub.add("/completion", Reply(events=[{"n": 1}, {"error": {"message": "out of memory", "code": 500}}]))
    stub.add("/old", Reply(chunks=[b'error: {"message":"out of memory","code":500}\n\n']))
    line = transport(stub)
    for path in ("/completion", "/old"):
        with pytest.raises(EngineUnavailable, match="out of memory"):
            await events(line, path)
    await line.close()


@pytest.mark.parametrize("chunk", [b"data: {\n\n", b"data: [1]\n\n", b"data: \xff\n\n"])
async def test_garbage_in_a_stream_is_a_protocol_error(stub: StubServer, chunk: bytes) -> None:
    stub.add("/completion", Reply(chunks=[chunk]))
    line = transport(stub)
    with pytest.raises(EngineProtocol):
        await events(line)
    await line.close()


async def test_a_reply_that_is_no_stream_is_a_protocol_error(stub: StubServer) -> None:
    stub.add("/completion", Reply(json={"content": "all at once"}))
    line = transport(stub)
    with pytest.raises(EngineProtocol, match="application/json"):
        await events(line)
    await line.close()


async def test_the_limit_of_a_call_holds_before_and_during_the_answer(stub: StubServer) -> None:
    stub.add("/slow", Reply(delay_s=5, json={}))
    stub.add("/completion", Reply(events=[{"n": 1}, {"n": 2}], gap_s=5))
    line = transport(stub)
    with pytest.raises(EngineTimeout) as before:
        await line.once("/slow", {}, timeout_s=0.1)
    assert before.value.limit_s == 0.1
    assert 0.1 <= before.value.elapsed_s < 5
    with pytest.raises(EngineTimeout):
        await events(line, timeout_s=0.2)
    await line.close()


async def test_cancelling_stays_cancelling(stub: StubServer) -> None:
    stub.add("/slow", Reply(delay_s=5, json={}))
    line = transport(stub)
    call = asyncio.create_task(line.once("/slow", {}))
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await line.close()


async def test_redirects_are_not_followed(stub: StubServer) -> None:
    stub.add("/props", Reply(status=307, headers={"Location": "/elsewhere"}, json={}))
    stub.add("/elsewhere", Reply(json={}))
    line = transport(stub)
    with pytest.raises(Exception, match="/elsewhere"):
        await line.once("/props", {})
    assert [seen.path for seen in stub.seen] == ["/props"]
    await line.close()


async def test_proxies_of_the_environment_are_not_used(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    stub.add("/props", Reply(json={"direct": True}))
    line = transport(stub)
    assert await line.get("/props") == {"direct": True}
    await line.close()


async def test_more_than_a_hundred_calls_run_at_once(stub: StubServer) -> None:
    stub.add("/slow", Reply(delay_s=0.5, json={}))
    line = transport(stub)
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(line.once("/slow", {}) for _ in range(150)))
    assert asyncio.get_running_loop().time() - began < 30, "one after the other would take 75 s"
    await line.close()


async def test_a_closed_transport_opens_again(stub: StubServer) -> None:
    stub.add("/props", Reply(json={}))
    line = transport(stub)
    await line.get("/props")
    await line.close()
    await line.close()
    await line.get("/props")
    await line.close()


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_closing_ends_the_calls_that_run(stub: StubServer, is_streamed: bool) -> None:
    stub.add("/completion", Reply(events=[{"n": 1}, {"n": 2}], gap_s=60) if is_streamed else Reply(delay_s=60))
    line = transport(stub)
    call = asyncio.create_task(events(line) if is_streamed else line.once("/completion", {}))
    await asyncio.sleep(0.3)
    await line.close()
    with pytest.raises(EngineUnavailable):
        await asyncio.wait_for(call, 10)


async def test_one_transport_serves_several_event_loops(stub: StubServer) -> None:
    stub.add("/props", Reply(json={"ok": True}))
    line = transport(stub)
    await line.get("/props")
    # The other loop ends without close(): its connections must end with it, without a warning.
    others = [await asyncio.to_thread(lambda: asyncio.run(line.get("/props"))) for _ in range(3)]
    assert others == [{"ok": True}] * 3
    assert len(line._loops) == 1
    await line.close()
    assert len(line._loops) == 0
    gc.collect()


async def test_closing_reaches_the_connections_of_a_loop_in_another_thread(stub: StubServer) -> None:
    stub.add("/props", Reply(json={}))
    line = transport(stub)
    background = asyncio.new_event_loop()
    thread = threading.Thread(target=background.run_forever)
    thread.start()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(line.get("/props"), background))
    await line.close()
    assert len(line._loops) == 0
    background.call_soon_threadsafe(background.stop)
    await asyncio.to_thread(thread.join)
    background.close()


async def test_a_forgotten_transport_leaves_nothing_open(stub: StubServer) -> None:
    stub.add("/props", Reply(json={}))
    line = transport(stub)
    await line.get("/props")
    session = next(iter(line._loops.values()))[0].session
    del line
    gc.collect()
    await asyncio.sleep(0.05)
    assert session.closed


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:8000", "ftp://host/", "http://", "http://host/v1?x=1", "http://host/#model", "http://host:99999"],
)
def test_an_address_that_cannot_be_used_is_refused_at_once(address: str) -> None:
    with pytest.raises(BadConfig, match="address of engine 'small'"):
        Transport("small", address)


@pytest.mark.parametrize(
    "address",
    ["http://me:hunter2@host/v1", "http://host/v1?key=hunter2", "http://host/#hunter2", "http://a:hunter2@[:1"],
)
def test_a_secret_in_the_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(BadConfig) as refused:
        Transport("small", address)
    with pytest.raises(BadConfig) as refused_spec:
        EngineSpec(kind="vllm", url=address)
    assert "hunter2" not in str(refused_spec.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("key", ["", "  ", "sk-1\r\nX: y", "sk-ü"])
def test_a_key_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadConfig) as refused:
        Transport("small", "http://host", api_key=key)
    assert "sk-" not in str(refused.value)


STREAM = (
    b': keep-alive\n\ndata: {"a": 1}\n\n'
    b'event: x\r\nid: 7\r\ndata:{"b":\r\ndata: 2}\r\n\r\n'
    b'data: {"c": "\xc3\xa9"}\r\r\ndata: [DONE]\n\n'
)


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_events_are_the_same_wherever_the_chunks_end(cuts: list[int]) -> None:
    decoder = EventDecoder()
    edges = [0, *cuts, len(STREAM)]
    found = [data for i in range(len(edges) - 1) for data in decoder.feed(STREAM[edges[i] : edges[i + 1]])]
    found += decoder.finish()
    assert found[-1] == b"[DONE]"
    assert [json.loads(data) for data in found[:-1]] == [{"a": 1}, {"b": 2}, {"c": "é"}]
    assert decoder.held == 0


async def test_a_helper_that_was_retried_is_not_tried_again_by_who_asked_for_it(stub: StubServer) -> None:
    stub.add("/tokenize", Reply(status=503))
    line = Transport("small", stub.url, retries=RetryPolicy(attempts=2, base_s=0.0))
    with pytest.raises(EngineUnavailable):
        await retry(lambda _: line.post("/tokenize", {}), RetryPolicy(attempts=3, base_s=0.0))
    assert len(stub.seen) == 2
    await line.close()
