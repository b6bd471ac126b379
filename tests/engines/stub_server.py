"""A model server that says whatever a test tells it to, on 127.0.0.1 and a free port.

    async with StubServer() as server:
        server.add("/v1/models", Reply(json={"data": []}))
        ...
        assert server.seen[0].path == "/v1/models"

Replies of a path are used up in order, and the last one stays. A path without replies answers 404.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web


class Seen(NamedTuple):
    """A request as the server saw it."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What to answer. The first that is given wins: reset, raw, chunks, events, text, json."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    """Before anything is sent."""
    reset: bool = False
    """Break the connection (RST) instead of answering."""
    raw: bytes | None = None
    """Bytes to put on the wire in place of an HTTP reply; then the connection ends."""
    chunks: Sequence[bytes] | None = None
    """The body, sent piece by piece as text/event-stream."""
    events: Sequence[Any] | None = None
    """Server-sent events, each a JSON value or a ready string such as "[DONE]"."""
    gap_s: float = 0.0
    """Between two events or chunks."""
    break_after: int | None = None
    """Break the connection after so many events or chunks."""
    text: str | bytes | None = None
    json: Any = None


Answer = Reply | Callable[[Seen], Reply]


class StubServer:
    """One server for one test."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.port = 0
        self._answers: dict[str, list[Answer]] = {}
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, path: str, *answers: Answer) -> None:
        """Answer the next requests to `path` so; a function is given the request."""
        self._answers.setdefault(path, []).extend(answers)

    def bodies(self, path: str) -> list[Any]:
        """Return the bodies `path` was asked with."""
        return [seen.body for seen in self.seen if seen.path == path]

    async def __aenter__(self) -> StubServer:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self.answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        raw = await request.read()
        seen = Seen(request.method, request.path, json.loads(raw) if raw else None, dict(request.headers))
        self.seen.append(seen)
        answers = self._answers.get(request.path)
        if not answers:
            return web.json_response({"detail": "Not Found"}, status=404)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        reply = answer if isinstance(answer, Reply) else answer(seen)
        await asyncio.sleep(reply.delay_s)
        return await _send(request, reply)


async def _send(request: web.Request, reply: Reply) -> web.StreamResponse:
    if reply.reset:
        return _broken(request)
    if reply.raw is not None:
        assert request.transport is not None
        request.transport.write(reply.raw)
        request.transport.close()
        return web.Response()
    if reply.chunks is not None:
        return await _stream(request, reply, reply.chunks)
    if reply.events is not None:
        lines = [event if isinstance(event, str) else json.dumps(event) for event in reply.events]
        return await _stream(request, reply, [f"data: {line}\n\n".encode() for line in lines])
    if reply.text is not None:
        body = reply.text.encode() if isinstance(reply.text, str) else reply.text
        return web.Response(body=body, status=reply.status, headers=reply.headers)
    return web.json_response(reply.json, status=reply.status, headers=reply.headers)


async def _stream(request: web.Request, reply: Reply, chunks: Sequence[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers={"Content-Type": "text/event-stream", **reply.headers})
    await response.prepare(request)
    for number, chunk in enumerate(chunks):
        if number == reply.break_after:
            return _broken(request)
        await response.write(chunk)
        await asyncio.sleep(reply.gap_s)
    if reply.break_after is not None:
        return _broken(request)
    await response.write_eof()
    return response


def _broken(request: web.Request) -> web.StreamResponse:
    """End the connection with a reset, as a server that dies does."""
    assert request.transport is not None
    sock = request.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response()
