"""Find out what kind of server answers at an address."""

from __future__ import annotations

from orchestrator.engines.http import Transport
from orchestrator.engines.retry import RetryPolicy
from orchestrator.errors import EngineProtocol, EngineRejected

__all__ = ["detect"]

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
    root = url.strip().rstrip("/").removesuffix("/v1")
    line = Transport(name, root, timeout_s=_TIMEOUT_S, retries=RetryPolicy(attempts=2))
    try:
        for kind, (path, key) in _SIGNS.items():
            if await _shows(line, path, key):
                return kind
    finally:
        await line.close()
    tried = ", ".join(path for path, _ in _SIGNS.values())
    raise EngineRejected(
        f"engine {name!r} at {root}: no vLLM, llama.cpp or chat server was recognised (tried {tried}): check the "
        "address, or name the engine's kind and key in orchestrator.toml",
        engine=name,
    )


async def _shows(line: Transport, path: str, key: str) -> bool:
    try:
        reply = await line.get(path)
    except (EngineRejected, EngineProtocol):
        return False
    return isinstance(reply, dict) and key in reply
