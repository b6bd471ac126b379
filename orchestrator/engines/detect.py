"""Find out what kind of server answers at an address, its version, what it serves, and whether it is well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.engines.http import Transport
from orchestrator.engines.retry import RetryPolicy
from orchestrator.errors import EngineError, EngineProtocol, EngineRejected

__all__ = ["detect", "is_well", "served", "version"]

_SIGNS = {
    "vllm": ("/version", "version"),
    "llamacpp": ("/props", "default_generation_settings"),
    "chat": ("/v1/models", "data"),
}
"""Kind -> path and a key of its reply, in the order they are tried."""
_TIMEOUT_S = 10.0


async def detect(name: str, url: str) -> str:
    """Return the kind of the server at `url`: `vllm`, `llamacpp` or, for any other that lists models, `chat`.

    `name` is the engine's, for messages; `url` may end in /v1. Raises EngineUnavailable or
    EngineTimeout if nothing answers, EngineRejected naming what was tried if the server is none of
    these, BadConfig for what is no address.
    """
    async with _line(name, url) as line:
        for kind, (path, key) in _SIGNS.items():
            if await _shows(line, path, key):
                return kind
    tried = ", ".join(path for path, _ in _SIGNS.values())
    raise EngineRejected(
        f"engine {name!r} at {line.base_url}: no vLLM, llama.cpp or chat server was recognised (tried {tried}): check "
        "the address, or name the engine's kind and key in orchestrator.toml",
        engine=name,
    )


async def version(name: str, url: str) -> str:
    """Return the version of the vLLM server at `url`. Raises an EngineError where it cannot be had."""
    async with _line(name, url) as line:
        reply = await line.get("/version")
        with line.reading("/version"):
            return str(reply["version"])


async def served(name: str, url: str, api_key: str | None = None) -> list[str]:
    """Return the names of what the vLLM server at `url` serves, and of the weights behind them, each name once.

    Raises an EngineError where it does not say.
    """
    async with _line(name, url, api_key) as line:
        reply = await line.get("/v1/models")
        with line.reading("/v1/models"):
            return list(dict.fromkeys(str(each[key]) for each in reply["data"] for key in ("id", "root")))


async def is_well(name: str, url: str, timeout_s: float) -> bool:
    """Return whether the vLLM server at `url` says within the time that it is well; one whose engine died does not."""
    async with _line(name, url) as line:
        try:
            await line.reach("/health", timeout_s=timeout_s)
        except EngineError:
            return False
        return True


@asynccontextmanager
async def _line(name: str, url: str, api_key: str | None = None) -> AsyncIterator[Transport]:
    root = url.strip().rstrip("/").removesuffix("/v1")
    line = Transport(name, root, api_key=api_key, timeout_s=_TIMEOUT_S, retries=RetryPolicy(attempts=2))
    try:
        yield line
    finally:
        await line.close()


async def _shows(line: Transport, path: str, key: str) -> bool:
    try:
        reply = await line.get(path)
    except (EngineRejected, EngineProtocol):
        return False
    return isinstance(reply, dict) and key in reply
