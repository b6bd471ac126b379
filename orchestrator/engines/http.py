"""One model server: its address, its key, its connections.

Everything this house says to a server over HTTP goes through `Transport`, and everything that can
go wrong there leaves it as an error of ours (see translation.py). Only the cheap helper calls are
retried here; completions are retried by the runtime, and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import aiohttp
from pydantic_core import from_json
from yarl import URL

from orchestrator.engines.retry import RetryPolicy, retry
from orchestrator.engines.spec import check_bare
from orchestrator.engines.sse import EventDecoder
from orchestrator.engines.translation import FOREIGN, Call, failure, plain, refusal
from orchestrator.errors import BadConfig, EngineError, EngineProtocol

__all__ = ["Transport"]

_HELPER_TIMEOUT_S = 60.0
_KEEP_ALIVE_S = 4.0  # below uvicorn's and vLLM's 5 s, so that no request meets a connection being closed
_MAX_REPLY = 64 << 20
_MAX_REFUSAL = 64 << 10
_SHOWN_LOCATION = 200
_DONE = b"[DONE]"


class _Open(NamedTuple):
    """What is open in one event loop."""

    session: aiohttp.ClientSession
    replies: set[aiohttp.ClientResponse]
    """Those being read."""


_Loops = WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[_Open, AsyncGenerator[_Open, None]]]


class Transport:
    """The way to one server. Usable from several event loops at once.

    Every method may raise EngineUnavailable, EngineTimeout, EngineRejected (ContextExceeded) or
    EngineProtocol. Paths are appended to `base_url`, which has no query.
    """

    def __init__(
        self,
        engine: str,
        base_url: str,
        *,
        api_key: str | None = None,
        api_key_env: str | None = None,
        timeout_s: float = 600,
        connect_timeout_s: float = 5,
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008 -- frozen
        keeps_connections: bool = True,
    ) -> None:
        """Raises BadConfig for an address or a key that cannot be used. Connects to nothing yet.

        `api_key_env` is the name of the variable the key came from, for error messages only.
        `retries` is for the helper calls. `keeps_connections` is False for a server that hangs up
        after a reply without saying so.
        """
        self.engine = engine
        self.base_url = _address(engine, base_url)
        self.timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._api_key = _key(engine, api_key)
        self._api_key_env = api_key_env
        self._retries = retries
        self._keeps_connections = keeps_connections
        self._urls: dict[str, URL] = {}
        self._loops: _Loops = WeakKeyDictionary()

    def __repr__(self) -> str:
        key = "with an API key" if self._api_key else "without an API key"
        return f"<Transport of {self.engine!r} to {self.base_url} {key}>"

    async def get(self, path: str, *, timeout_s: float | None = None) -> Any:
        """Return the JSON reply of a read; retried."""
        return await self._retried("GET", path, None, timeout_s)

    async def reach(self, path: str, *, timeout_s: float | None = None) -> None:
        """Return if the server answers a read with success; what it says is not looked at. Never retried."""
        async with self._reply("GET", path, None, self._helper_limit(timeout_s)):
            pass

    async def post(self, path: str, body: Any, *, timeout_s: float | None = None) -> Any:
        """Return the JSON reply of a cheap, repeatable call such as tokenising; retried."""
        return await self._retried("POST", path, body, timeout_s)

    async def _retried(self, method: str, path: str, body: Any, timeout_s: float | None) -> Any:
        try:
            return await retry(lambda _: self._json(method, path, body, self._helper_limit(timeout_s)), self._retries)
        except EngineError as error:
            error.was_retried = True  # the completion that needed it is not to be made again for it
            raise

    async def once(self, path: str, body: Any, *, timeout_s: float | None = None) -> Any:
        """Return the JSON reply of a completion that comes in one piece; never retried here."""
        return await self._json("POST", path, body, self._limit(timeout_s))

    async def stream(
        self, path: str, body: Any, *, timeout_s: float | None = None
    ) -> AsyncGenerator[list[dict[str, Any]]]:
        """Yield the events of a streamed completion as they arrive, those of one arrival together; never retried here.

        Ends at `[DONE]` or when the server ends the stream: only the caller knows which event is the
        last, so only the caller can tell that it is missing. An event that holds an `error` is raised.
        Wrap it in `contextlib.aclosing` where the loop over it may be left early.
        """
        async with self._reply("POST", path, body, self._limit(timeout_s)) as (reply, call):
            if reply.content_type != "text/event-stream":
                raise EngineProtocol(
                    call.line(f"it answered {reply.content_type} where a stream of events was due"), engine=self.engine
                )
            decoder = EventDecoder()
            async for chunk in reply.content.iter_any():
                found = decoder.feed(chunk)
                arrived: list[dict[str, Any]] = []
                try:
                    arrived.extend(_event(data, call) for data in _before_end(found))
                finally:
                    if arrived:  # what came before a failure still counts
                        yield arrived
                if _DONE in found:
                    return
                if decoder.held > _MAX_REPLY:
                    raise _too_large(call)
            if rest := [_event(data, call) for data in _before_end(decoder.finish())]:
                yield rest

    async def close(self) -> None:
        """Close every connection; calls that run become EngineUnavailable, a later one opens new connections."""
        here = asyncio.get_running_loop()
        for loop, (_, keeper) in list(self._loops.items()):
            if loop is here:
                await keeper.aclose()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_aclose(keeper), loop))

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """Turn a slip over an unexpected reply (missing key, wrong type) into EngineProtocol.

        Put nothing inside but the picking apart of the reply.
        """
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise self.misunderstood(path, repr(error)) from error

    def misunderstood(self, path: str, what: str) -> EngineProtocol:
        """Return the error for a reply to `path` that breaks the server's interface."""
        line = self._call(path, 0.0).line(f"the reply is not as expected ({what})", "is this the right kind of server?")
        return EngineProtocol(line, engine=self.engine)

    def _limit(self, timeout_s: float | None) -> float:
        return self.timeout_s if timeout_s is None else timeout_s

    def _helper_limit(self, timeout_s: float | None) -> float:
        return min(self.timeout_s, _HELPER_TIMEOUT_S) if timeout_s is None else timeout_s

    def _call(self, path: str, limit_s: float) -> Call:
        return Call(
            engine=self.engine,
            url=self.base_url + path,
            limit_s=limit_s,
            connect_limit_s=self._connect_timeout_s,
            started=time.monotonic(),
            secret=self._api_key,
            secret_name=self._api_key_env,
        )

    async def _json(self, method: str, path: str, body: Any, limit_s: float) -> Any:
        async with self._reply(method, path, body, limit_s) as (reply, call):
            body = await _body(reply, _MAX_REPLY)
            if len(body) > _MAX_REPLY:
                raise _too_large(call)
            return json.loads(body)

    @asynccontextmanager
    async def _reply(
        self, method: str, path: str, body: Any, limit_s: float
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, Call]]:
        """Send a request and yield its successful reply; translate whatever goes wrong until it is read."""
        call = self._call(path, limit_s)
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        limits = aiohttp.ClientTimeout(total=limit_s, sock_connect=self._connect_timeout_s)
        try:
            session, replies = await self._open()
            async with session.request(
                method, self._url(path), data=data, timeout=limits, allow_redirects=False
            ) as reply:
                replies.add(reply)
                try:
                    if reply.status != 200:
                        raise await _refusal(reply, call)
                    yield reply, call
                finally:
                    replies.discard(reply)
        except FOREIGN as error:
            raise failure(error, call) from error

    def _url(self, path: str) -> URL:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self.base_url + path)
        return url

    async def _open(self) -> _Open:
        """Return what is open in the running loop; sessions cannot be shared between loops."""
        here = asyncio.get_running_loop()
        kept = self._loops.get(here)
        if kept is not None:
            return kept[0]
        keeper = _keep_open(self._loops, self._headers(), keeps_connections=self._keeps_connections)
        opened = await anext(keeper)
        self._loops[here] = (opened, keeper)
        for loop, (old, _) in list(self._loops.items()):
            if loop.is_closed():  # somebody closed it without ending its asynchronous generators
                del self._loops[loop]
                await old.session.close()
        return opened

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        return headers if self._api_key is None else {**headers, "Authorization": f"Bearer {self._api_key}"}


async def _keep_open(loops: _Loops, headers: dict[str, str], *, keeps_connections: bool) -> AsyncGenerator[_Open, None]:
    """Yield a session that closes with its event loop.

    An event loop closes the asynchronous generators that were started in it before it ends, so
    nobody has to remember to, and nothing leaks where somebody forgets.
    """
    keeping: dict[str, Any] = {"keepalive_timeout": _KEEP_ALIVE_S} if keeps_connections else {"force_close": True}
    connector = aiohttp.TCPConnector(limit=0, **keeping)
    session = aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar())
    replies: set[aiohttp.ClientResponse] = set()
    try:
        yield _Open(session, replies)
    finally:
        loops.pop(asyncio.get_running_loop(), None)
        for reply in list(replies):
            reply.close()  # or whoever reads it would wait for its time limit
        await session.close()


async def _aclose(keeper: AsyncGenerator[_Open, None]) -> None:
    await keeper.aclose()


def _before_end(found: list[bytes]) -> list[bytes]:
    return found[: found.index(_DONE)] if _DONE in found else found


def _event(data: bytes, call: Call) -> dict[str, Any]:
    try:
        event = from_json(data)
    except ValueError:  # bytes that are no UTF-8, or half of a surrogate pair: the text around them is worth keeping
        event = json.loads(data.decode("utf-8", "replace"))
    if not isinstance(event, dict):
        line = call.line("an event of the stream is not a JSON object", "is this the right kind of server?")
        raise EngineProtocol(line, engine=call.engine)
    if event.get("error"):
        raise _failed_midway(event["error"], data, call)
    return event


def _failed_midway(error: Any, data: bytes, call: Call) -> EngineError:
    status = error.get("code") if isinstance(error, dict) else None
    return refusal(status if isinstance(status, int) and status >= 400 else 500, data, None, call)


async def _body(reply: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the reply's body; of one longer than `limit` only the first part."""
    chunks = bytearray()
    async for chunk in reply.content.iter_any():
        chunks += chunk
        if len(chunks) > limit:
            break
    return bytes(chunks)


async def _refusal(reply: aiohttp.ClientResponse, call: Call) -> EngineError:
    body = await _body(reply, _MAX_REFUSAL)
    target = plain(reply.headers.get("Location", ""), call.secret, limit=_SHOWN_LOCATION)
    return refusal(reply.status, body, reply.headers.get("Retry-After"), call, location=target)


def _too_large(call: Call) -> EngineProtocol:
    line = call.line(f"the reply is longer than {_MAX_REPLY >> 20} MiB", "is this the port of a model server?")
    return EngineProtocol(line, engine=call.engine)


def _address(engine: str, base_url: str) -> str:
    what = f"the address of engine {engine!r}"
    check_bare(base_url, what)
    try:
        url = URL(base_url)
        port = url.port
    except ValueError as error:
        raise BadConfig(f"{what} cannot be read: {plain(str(error))}") from None
    if url.scheme not in ("http", "https") or not url.host or not port:
        raise BadConfig(f"{what} is {plain(base_url)!r}: write it like http://127.0.0.1:8000/v1")
    return base_url.strip().rstrip("/")


def _key(engine: str, api_key: str | None) -> str | None:
    if api_key is not None and (not api_key.isascii() or not api_key.isprintable() or not api_key.strip()):
        raise BadConfig(f"the api_key of engine {engine!r} is empty or holds characters that no HTTP header can carry")
    return api_key
