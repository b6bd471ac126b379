"""What every engine behind a vLLM server has: its line, what was found there, and the served model's own tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from orchestrator.engines.base import Capabilities, Role, Schema
from orchestrator.engines.dialects.vllm_tokenizer import VllmTokenizer
from orchestrator.engines.http import Transport
from orchestrator.engines.start_once import StartOnce
from orchestrator.types import Message

__all__ = ["VllmServer"]

T = TypeVar("T", bound=VllmTokenizer)


class VllmServer(Generic[T]):
    """One of the models of the server at `url`, with or without the closing /v1; `find` tries what it can do.

    `timeout_s` is the longest wait for a call that sets no limit of its own.
    """

    def __init__(
        self,
        url: str,
        find: Callable[[Transport], Coroutine[Any, Any, tuple[Capabilities, T]]],
        *,
        name: str,
        api_key: str | None,
        timeout_s: float,
    ) -> None:
        self.name = name
        root = url.strip().rstrip("/").removesuffix("/v1")
        self._line = Transport(name, root, api_key=api_key, timeout_s=timeout_s)
        self._found = StartOnce(lambda: find(self._line))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    async def start(self) -> Capabilities:
        """Look at the server and try what it can do, once; concurrent callers share the trial.

        Raises EngineRejected if the model is not served or the server is of no use, BadConfig if none is
        named and there are several.
        """
        return (await self._found.get())[0]

    async def render(
        self, messages: Sequence[Message], *, think: bool | None = None, tools: Sequence[Schema] = ()
    ) -> list[int]:
        """Return the prompt ids of a conversation as the model's own template lays it out."""
        return await (await self._tokenizer()).render(messages, think, tools)

    async def interject(
        self, content: str, prefill: str, *, think: bool | None = None, role: Role = "user"
    ) -> list[int]:
        """Return the ids that close the assistant's turn, let `role` speak and begin a reply with `prefill`."""
        return await (await self._tokenizer()).interject(content, prefill, think=think, role=role)

    async def encode(self, text: str) -> list[int]:
        """Tokenise `text` as data; see literal.py."""
        return await (await self._tokenizer()).encode(text)

    async def close(self) -> None:
        """Close the connections."""
        self._found.forget()
        await self._line.close()

    async def _tokenizer(self) -> T:
        return (await self._found.get())[1]
