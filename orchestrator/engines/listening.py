"""Who listens at the address where a vLLM server is to be, and what it serves."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from orchestrator.engines.detect import detect, served
from orchestrator.engines.serving import address
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import BadConfig, EngineError

__all__ = ["answers", "check_served", "is_taken"]


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


async def check_served(engine: str, spec: EngineSpec) -> None:
    """Raise BadConfig if the vLLM server that answers serves neither the engine's model nor its weights.

    Raises EngineError if it does not say.
    """
    assert spec.url is not None and spec.serving is not None
    found = await served(engine, spec.url, spec.api_key)
    wanted = list(dict.fromkeys(each for each in (spec.model, spec.serving.model) if each is not None))
    if not set(wanted).intersection(found):
        raise BadConfig(
            f"engine {engine!r}: the server that answers at {spec.url} already serves {', '.join(found)}, not "
            f"{' or '.join(wanted)}: end it, give the engine another url, or name as its model what is served there"
        )


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
