"""Why aiohttp is the client: CPU of a request and its reply, 256 at once, beside httpx where that is installed.

Run `python benchmarks/http_client.py`. The server is the stub of `stub_server.py`, in a process of its own; a
request is a prompt of 1,000 token ids as JSON and its reply one small JSON object, so that the client is
what is measured. Connections are kept; both clients send the same bytes.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
import json
from collections.abc import Awaitable, Callable
from time import process_time
from typing import Any, NamedTuple

import aiohttp
from measure import Options, Report, interleaved, options
from stub_server import serving

CONCURRENT = 256
LATENCY_MS = 50
BAR_MS = 0.6
BODY = json.dumps({"model": "stub", "prompt": list(range(1000)), "max_tokens": 1, "temperature": 0.0}).encode()


class Size(NamedTuple):
    """How many requests are sent."""

    concurrent: int
    rounds: int
    """One after the other in each of the concurrent loops."""


Send = Callable[[], Awaitable[bytes]]


async def per_request(send: Send, size: Size) -> float:
    """Return the milliseconds of CPU of one request."""

    async def loop() -> None:
        for _ in range(size.rounds):
            json.loads(await send())

    await asyncio.gather(*(send() for _ in range(size.concurrent)))  # opens the connections
    gc.collect()
    cpu_s = process_time()
    await asyncio.gather(*(loop() for _ in range(size.concurrent)))
    return (process_time() - cpu_s) / (size.concurrent * size.rounds) * 1e3


def with_aiohttp(url: str, size: Size) -> Callable[[], Awaitable[float]]:
    """Return a batch of requests by aiohttp."""

    async def run() -> float:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def send() -> bytes:
                async with session.post(url, data=BODY) as reply:
                    return await reply.read()

            return await per_request(send, size)

    return run


def with_httpx(url: str, size: Size) -> Callable[[], Awaitable[float]]:
    """Return a batch of requests by httpx."""
    httpx: Any = importlib.import_module("httpx")

    async def run() -> float:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=600) as client:

            async def send() -> bytes:
                content: bytes = (await client.post(url, content=BODY)).content
                return content

            return await per_request(send, size)

    return run


async def measure(chosen: Options) -> Report:
    """Let both clients take turns."""
    size = Size(16, 2) if chosen.is_quick else Size(CONCURRENT, 16)
    lines = Report(f"CPU per HTTP request, {size.concurrent} at once", chosen)
    with serving() as server:
        url = f"{server}/{LATENCY_MS}/1/v1/completions"
        variants = {"aiohttp": with_aiohttp(url, size)}
        if importlib.util.find_spec("httpx") is not None:
            variants["httpx"] = with_httpx(url, size)
        found = await interleaved(variants, chosen.times(5))
    lines.add("aiohttp", found["aiohttp"], "ms", bar=BAR_MS)
    if "httpx" in found:
        lines.add("httpx", found["httpx"], "ms")
        lines.add(
            "httpx / aiohttp", [own / other for own, other in zip(found["httpx"], found["aiohttp"], strict=True)], "x"
        )
    return lines


if __name__ == "__main__":
    asyncio.run(measure(options(__doc__))).print()
