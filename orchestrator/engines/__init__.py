"""Tokens in, tokens out: model servers, the embedded engine and scripted ones.

The functions here describe engines; nothing is contacted or loaded until a pipeline runs.
"""

from __future__ import annotations

from typing import Any

from orchestrator import registry
from orchestrator.engines.embedding import EmbeddingSpec
from orchestrator.engines.pocket import pocket_pair, pocket_scorer
from orchestrator.engines.spec import POOLING, EngineSpec
from orchestrator.ledger import Price
from orchestrator.types import Sampling

__all__ = [
    "ENGINES",
    "EmbeddingSpec",
    "EngineSpec",
    "Scripted",
    "chat",
    "embedded",
    "embedding",
    "find",
    "llamacpp",
    "pocket_pair",
    "pocket_scorer",
    "pooling",
    "spec",
    "vllm",
]

ENGINES = {
    "vllm": "orchestrator.engines.dialects.vllm:Vllm",
    POOLING: "orchestrator.engines.dialects.pooling:Pooling",
    "llamacpp": "orchestrator.engines.dialects.llamacpp:LlamaCpp",
    "chat": "orchestrator.engines.dialects.chat:Chat",
    "embedded": "orchestrator.engines.in_process:Embedded",
}


def find(kind: str) -> Any:
    """Return the engine class for `kind`. Raises UnknownName, listing all kinds."""
    return registry.find("engines", kind, ENGINES)


def spec(kind: str, *, price: Price | None = None, **options: Any) -> EngineSpec:
    """Describe an engine. Options of `Sampling` (temperature, top_p, ...) are given beside the engine's own."""
    sampling = {name: options.pop(name) for name in Sampling.__slots__ if name in options}
    return EngineSpec(kind=kind, sampling=Sampling(**sampling), price=price or Price(), **options)


def vllm(url: str, *, model: str | None = None, **options: Any) -> EngineSpec:
    """Describe a vLLM server, e.g. `vllm("http://127.0.0.1:8001/v1", model="QwQ-32B")`."""
    return spec("vllm", url=url, model=model, **options)


def pooling(url: str, *, model: str | None = None, **options: Any) -> EngineSpec:
    """Describe a process reward model that vLLM serves as a pooling model. It measures steps and writes none."""
    return spec(POOLING, url=url, model=model, writes=False, **options)


def llamacpp(url: str, *, model: str | None = None, **options: Any) -> EngineSpec:
    """Describe a llama.cpp server, e.g. `llamacpp("http://127.0.0.1:8080")`."""
    return spec("llamacpp", url=url, model=model, **options)


def chat(url: str, *, model: str, **options: Any) -> EngineSpec:
    """Describe a chat-only API. It writes whole turns, so step routers refuse it."""
    return spec("chat", url=url, model=model, **options)


def embedded(path: str, **options: Any) -> EngineSpec:
    """Describe a GGUF file that is served by llama.cpp inside this process."""
    return spec("embedded", path=path, **options)


def embedding(url: str | None = None, **options: Any) -> EmbeddingSpec:
    """Describe what turns texts into vectors: a server, e.g. `embedding("http://127.0.0.1:8003/v1")`, or a file that is
    served inside this process, `embedding(path="minilm")`. It is no engine of a pipeline, but its `embedding`."""
    return EmbeddingSpec(url=url, **options)


def __getattr__(name: str) -> Any:
    if name == "Scripted":
        from orchestrator.engines.scripted import Scripted

        return Scripted
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
