"""Every foreign failure leaves the engines as one of ours, on one line that says what to do."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate

import aiohttp
import pytest
from aiohttp.client_exceptions import UnixClientConnectorError
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from stub_server import Reply, StubServer
from yarl import URL

from orchestrator.engines.http import Transport
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.translation import FOREIGN, Call, failure
from orchestrator.errors import (
    ContextExceeded,
    EngineError,
    EngineProtocol,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
)

KEY = "sk-do-not-show"
ONCE = RetryPolicy(attempts=1)
URL_ = URL("http://host/path")
OSFAIL = OSError(104, "Connection reset by peer")
PLACE = ConnectionKey("host", 80, False, True, None, None, None)
INFO = RequestInfo(URL_, "POST", CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {KEY}"})), URL_)

# Every class aiohttp can raise, made as aiohttp makes it, and ours for it.
EXPECTED: dict[type[Exception], tuple[Exception, type[EngineError]]] = {
    aiohttp.ClientError: (aiohttp.ClientError("x"), EngineProtocol),
    aiohttp.ClientResponseError: (aiohttp.ClientResponseError(INFO, (), status=400, message="bad"), EngineProtocol),
    aiohttp.ContentTypeError: (aiohttp.ContentTypeError(INFO, ()), EngineProtocol),
    aiohttp.WSServerHandshakeError: (aiohttp.WSServerHandshakeError(INFO, ()), EngineProtocol),
    aiohttp.ClientHttpProxyError: (aiohttp.ClientHttpProxyError(INFO, ()), EngineProtocol),
    aiohttp.TooManyRedirects: (aiohttp.TooManyRedirects(INFO, ()), EngineRejected),
    aiohttp.ClientConnectionError: (aiohttp.ClientConnectionError("x"), EngineUnavailable),
    aiohttp.ClientConnectionResetError: (aiohttp.ClientConnectionResetError("x"), EngineUnavailable),
    aiohttp.ClientOSError: (aiohttp.ClientOSError(104, "reset"), EngineUnavailable),
    aiohttp.ClientConnectorError: (aiohttp.ClientConnectorError(PLACE, OSFAIL), EngineUnavailable),
    aiohttp.ClientConnectorDNSError: (aiohttp.ClientConnectorDNSError(PLACE, OSFAIL), EngineUnavailable),
    aiohttp.ClientProxyConnectionError: (aiohttp.ClientProxyConnectionError(PLACE, OSFAIL), EngineUnavailable),
    UnixClientConnectorError: (UnixClientConnectorError("/s", PLACE, OSFAIL), EngineUnavailable),
    aiohttp.ClientSSLError: (aiohttp.ClientSSLError(PLACE, OSFAIL), EngineProtocol),
    aiohttp.ClientConnectorSSLError: (aiohttp.ClientConnectorSSLError(PLACE, OSFAIL), EngineProtocol),
    aiohttp.ClientConnectorCertificateError: (
        aiohttp.ClientConnectorCertificateError(PLACE, ssl.CertificateError("self-signed")),
        EngineProtocol,
    ),
    aiohttp.ServerConnectionError: (aiohttp.ServerConnectionError("x"), EngineUnavailable),
    aiohttp.ServerDisconnectedError: (aiohttp.ServerDisconnectedError(), EngineUnavailable),
    aiohttp.ServerTimeoutError: (aiohttp.ServerTimeoutError("x"), EngineTimeout),
    aiohttp.ConnectionTimeoutError: (aiohttp.ConnectionTimeoutError("x"), EngineUnavailable),
    aiohttp.SocketTimeoutError: (aiohttp.SocketTimeoutError("x"), EngineTimeout),
    aiohttp.ServerFingerprintMismatch: (aiohttp.ServerFingerprintMismatch(b"a", b"b", "host", 80), EngineProtocol),
    aiohttp.ClientPayloadError: (aiohttp.ClientPayloadError("cut"), EngineUnavailable),
    aiohttp.UploadAbortedError: (aiohttp.UploadAbortedError("cut"), EngineUnavailable),
    aiohttp.InvalidURL: (aiohttp.InvalidURL("x"), EngineRejected),
    aiohttp.InvalidUrlClientError: (aiohttp.InvalidUrlClientError("x"), EngineRejected),
    aiohttp.RedirectClientError: (aiohttp.RedirectClientError("x"), EngineRejected),
    aiohttp.InvalidUrlRedirectClientError: (aiohttp.InvalidUrlRedirectClientError("x"), EngineRejected),
    aiohttp.NonHttpUrlClientError: (aiohttp.NonHttpUrlClientError("x"), EngineRejected),
    aiohttp.NonHttpUrlRedirectClientError: (aiohttp.NonHttpUrlRedirectClientError("x"), EngineRejected),
    TimeoutError: (TimeoutError(), EngineTimeout),
    OSError: (OSError(24, "Too many open files"), EngineUnavailable),
    ConnectionError: (ConnectionError("x"), EngineUnavailable),
    ConnectionRefusedError: (ConnectionRefusedError(111, "refused"), EngineUnavailable),
    ConnectionResetError: (ConnectionResetError(104, "reset"), EngineUnavailable),
    ConnectionAbortedError: (ConnectionAbortedError(103, "aborted"), EngineUnavailable),
    BrokenPipeError: (BrokenPipeError(32, "pipe"), EngineUnavailable),
    socket.gaierror: (socket.gaierror(-2, "unknown"), EngineUnavailable),
    ssl.SSLError: (ssl.SSLError(1, "handshake"), EngineProtocol),
    ssl.SSLCertVerificationError: (ssl.SSLCertVerificationError("self-signed"), EngineProtocol),
    ValueError: (ValueError("x"), EngineProtocol),
    json.JSONDecodeError: (json.JSONDecodeError("x", "doc", 0), EngineProtocol),
    UnicodeDecodeError: (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), EngineProtocol),
    RecursionError: (RecursionError("too deep"), EngineProtocol),
}


def call() -> Call:
    return Call(
        engine="small", url="http://host/path", limit_s=1, connect_limit_s=1, started=time.monotonic(), secret=KEY
    )


def family(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for child in root.__subclasses__():
        yield from family(child)


def test_every_class_of_the_client_is_in_the_table() -> None:
    foreign = {kind for kind in family(aiohttp.ClientError) if kind.__module__.startswith("aiohttp.")}
    foreign |= {kind for kind in family(ConnectionError) if kind.__module__ == "builtins"}
    assert len(foreign) > 30
    assert foreign - set(EXPECTED) == set()


@pytest.mark.parametrize("foreign", EXPECTED, ids=lambda kind: kind.__name__)
def test_a_foreign_class_has_one_of_ours(foreign: type[Exception]) -> None:
    error, ours = EXPECTED[foreign]
    assert type(error) is foreign
    assert isinstance(error, FOREIGN)
    translated = failure(error, call())
    assert type(translated) is ours
    assert translated.engine == "small"
    line = str(translated)
    assert "\n" not in line
    assert "engine 'small' at http://host/path" in line
    assert "; " in line, "the line says what to do next"
    assert KEY not in line + repr(error)


NEVER_SENT = {
    aiohttp.ClientConnectorError,
    aiohttp.ClientConnectorDNSError,
    aiohttp.ClientProxyConnectionError,
    UnixClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ConnectionRefusedError,
    socket.gaierror,
}


@pytest.mark.parametrize(
    "foreign",
    [kind for kind, (_, ours) in EXPECTED.items() if ours is EngineUnavailable],
    ids=lambda kind: kind.__name__,
)
def test_only_a_failure_to_connect_says_that_nothing_was_sent(foreign: type[Exception]) -> None:
    translated = failure(EXPECTED[foreign][0], call())
    assert isinstance(translated, EngineUnavailable)
    assert translated.was_sent == (foreign not in NEVER_SENT)


def test_cancelling_is_not_foreign() -> None:
    assert not issubclass(asyncio.CancelledError, FOREIGN)
    with pytest.raises(asyncio.CancelledError):
        failure(asyncio.CancelledError(), call())


async def refused(stub: StubServer, reply: Reply, **options: str) -> EngineError:
    """Return the error for `reply`, having checked what holds for all of them."""
    stub.add("/completion", reply)
    line = Transport("small", stub.url, retries=ONCE, **{"api_key": KEY, **options})
    with pytest.raises(EngineError) as raised:
        await line.once("/completion", {})
    await line.close()
    said = str(raised.value)
    assert stub.url + "/completion" in said
    assert said.isprintable()
    assert KEY not in said
    assert KEY not in repr(raised.value) + repr(raised.value.__cause__)
    return raised.value


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 529])
async def test_a_busy_server_is_unavailable(stub: StubServer, status: int) -> None:
    error = await refused(stub, Reply(status=status, json={"error": {"message": "Loading model"}}))
    assert type(error) is EngineUnavailable
    assert "Loading model" in str(error)
    assert error.retry_after_s is None
    assert error.was_sent


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("-3", 0, 0),
        ("in 3000 s", 2000, 3000),
        (formatdate(0, usegmt=True), 0, 0),
    ],
)
async def test_retry_after_is_read_as_seconds_or_date(stub: StubServer, header: str, least: float, most: float) -> None:
    if header == "in 3000 s":
        header = formatdate(time.time() + 3000, usegmt=True)
    error = await refused(stub, Reply(status=503, headers={"Retry-After": header}, json={}))
    assert isinstance(error, EngineUnavailable)
    assert error.retry_after_s is not None
    assert least <= error.retry_after_s <= most


@pytest.mark.parametrize("header", ["soon", "nan", "inf", "Mon, 99 Foo"])
async def test_an_unreadable_retry_after_is_no_wish(stub: StubServer, header: str) -> None:
    error = await refused(stub, Reply(status=503, headers={"Retry-After": header}, json={}))
    assert isinstance(error, EngineUnavailable)
    assert error.retry_after_s is None


async def test_a_refused_key_is_named_by_its_variable(stub: StubServer) -> None:
    error = await refused(stub, Reply(status=401, json={"error": f"bad key {KEY}"}), api_key_env="SMALL_KEY")
    assert type(error) is EngineRejected
    assert "SMALL_KEY" in str(error)
    assert "bad key ***" in str(error)


async def test_a_missing_key_is_said_to_be_missing(stub: StubServer) -> None:
    error = await refused(stub, Reply(status=403, json={}), api_key=None)
    assert "none is set" in str(error)


@pytest.mark.parametrize(
    "body", [{"detail": "Not Found"}, {"error": {"message": "The model `x` does not exist.", "code": 404}}]
)
async def test_not_found_says_what_to_check(stub: StubServer, body: dict) -> None:
    error = await refused(stub, Reply(status=404, json=body))
    assert type(error) is EngineRejected
    assert "/v1" in str(error)
    assert "model" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "numbers"),
    [
        (400, {"error": {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 10500, "n_ctx": 2048,
                         "message": "request (10500 tokens) exceeds the available context size (2048 tokens), "
                                    "try increasing it"}}, (10500, 2048)),
        (400, {"object": "error", "code": 400, "message": "This model's maximum context length is 2048 tokens. "
               "However, you requested 2060 tokens (2010 in the messages, 50 in the completion)."}, (2010, 2048)),
        (400, {"error": {"message": "This model's maximum context length is 2048 tokens. However, your request "
                                    "has 2100 input tokens. Please reduce the length of it."}}, (2100, 2048)),
        (400, {"error": {"message": "The decoder prompt (length 2100) is longer than the maximum model length of 2048. "
                                    "Make sure that `max_model_len` is no smaller"}}, (2100, 2048)),
        (400, {"error": {"message": "You passed 2049 input tokens and requested 16 output tokens. However, the model's "
                                    "context length is only 2048 tokens"}}, (2049, 2048)),
        (500, {"error": {"message": "the request exceeds the available context size"}}, (0, 0)),
    ],
)  # fmt: skip
async def test_a_prompt_that_does_not_fit_is_told_apart(
    stub: StubServer, status: int, body: dict, numbers: tuple[int, int]
) -> None:
    error = await refused(stub, Reply(status=status, json=body))
    assert isinstance(error, ContextExceeded)
    assert (error.prompt_tokens, error.context) == numbers
    assert "engine 'small'" in str(error)
    assert "shorten the prompt or serve the model with a longer context" in str(error)


def test_a_prompt_that_does_not_fit_has_one_wording() -> None:
    error = ContextExceeded.of("small", 2100, 2048)
    assert str(error) == (
        "the prompt has 2100 tokens and engine 'small' a context of 2048: "
        "shorten the prompt or serve the model with a longer context"
    )
    assert (error.engine, error.prompt_tokens, error.context) == ("small", 2100, 2048)


@pytest.mark.parametrize("status", [400, 405, 409, 413, 422, 501])
async def test_other_refusals_carry_the_server_s_words(stub: StubServer, status: int) -> None:
    error = await refused(stub, Reply(status=status, json={"error": {"message": "no such grammar"}}))
    assert type(error) is EngineRejected
    assert "no such grammar" in str(error)


async def test_the_server_s_words_are_short_and_harmless(stub: StubServer) -> None:
    nasty = f"\x1b[2J\x1b]0;owned\x07 \u202e {KEY}\n" + "long " * 5000
    error = await refused(stub, Reply(status=400, json={"error": {"message": nasty}}))
    assert len(str(error)) < 700


async def test_a_web_page_is_not_quoted(stub: StubServer) -> None:
    error = await refused(stub, Reply(status=400, text="<!doctype html><HTML><script>"))
    assert "'a web page'" in str(error)


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[" * 100_000, b"null", b'"text"', b'{"error": null}'])
async def test_a_refusal_whose_body_is_garbage_is_still_a_refusal(stub: StubServer, body: bytes) -> None:
    assert type(await refused(stub, Reply(status=400, text=body))) is EngineRejected


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b'{"a": "\xff"}', b"[" * 100_000])
async def test_a_success_whose_body_is_garbage_breaks_the_protocol(stub: StubServer, body: bytes) -> None:
    assert type(await refused(stub, Reply(text=body))) is EngineProtocol


async def test_a_server_that_speaks_no_http_breaks_the_protocol(stub: StubServer) -> None:
    assert type(await refused(stub, Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n"))) is EngineProtocol


@pytest.mark.parametrize(
    "reply",
    [Reply(reset=True), Reply(raw=b""), Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")],
    ids=["reset", "closed", "cut"],
)
async def test_a_broken_connection_is_unavailable(stub: StubServer, reply: Reply) -> None:
    error = await refused(stub, reply)
    assert type(error) is EngineUnavailable
    assert error.was_sent


async def test_nothing_listening_is_unavailable_and_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        line = Transport("small", f"http://127.0.0.1:{taken.getsockname()[1]}/v1", retries=ONCE)
        with pytest.raises(EngineUnavailable, match="nothing listens there; start the server") as raised:
            await line.get("/models")
        assert not raised.value.was_sent
        await line.close()


async def test_an_unknown_host_is_unavailable_and_says_so() -> None:
    line = Transport("small", "http://no-such-host.invalid", retries=ONCE)
    with pytest.raises(EngineUnavailable, match="host name is not known") as raised:
        await line.get("/props")
    assert not raised.value.was_sent
    await line.close()


async def test_tls_on_a_plain_port_breaks_the_protocol(stub: StubServer) -> None:
    line = Transport("small", stub.url.replace("http:", "https:"), retries=ONCE)
    with pytest.raises(EngineProtocol, match="use http://"):
        await line.get("/props")
    await line.close()


async def test_a_host_that_accepts_no_connection_is_unavailable_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]  # the queue of a listener that never accepts
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        line = Transport("small", f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout_s=0.2, retries=ONCE)
        with pytest.raises(EngineUnavailable, match=r"no connection within 0\.2 s") as raised:
            await line.get("/props")
        assert not raised.value.was_sent
        await line.close()
        for filler in fillers:
            filler.close()


async def test_picking_a_reply_apart_fails_as_a_protocol_error() -> None:
    line = Transport("small", "http://host")
    with pytest.raises(EngineProtocol, match="/props"), line.reading("/props"):
        _ = {}["default_generation_settings"]
