"""Who listens at the address where a vLLM server is to be."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from orchestrator.engines.detect import detect
from orchestrator.engines.serving import address
from orchestrator.errors import BadConfig, EngineError

__all__ = ["answers", "is_taken"]


async def answers(engine: str, url: str) -> bool:
    """Return whether a vLLM server answers."""
    return await _connects(url) and await _kind(engine, url) == "vllm"


async def is_taken(engine: str, url: str) -> bool:
    """Return whether a vLLM server answers already. Raises BadConfig if something else has the port."""
    if not await _connects(url):
        return False
    if (kind := await _kind(engine, url)) == "vllm":
        return True
    what = f"a {kind} server" if kind else "something that is no model server"
    port = address(url).port
    raise BadConfig(f"engine {engine!r}: port {port} is in use by {what}: end it, or give the engine another url")


async def _connects(url: str) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address(url))
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _kind(engine: str, url: str) -> str | None:
    try:
        return await detect(engine, url)
    except EngineError:
        return None
