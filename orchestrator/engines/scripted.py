"""An engine that says what it is told to: for tests, for learning, and for simulations without a model.

Its tokens are UTF-8 bytes, so every text round-trips and token counts can be checked by eye.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import isawaitable
from time import perf_counter

from orchestrator.engines.base import Capabilities, Completion, Request, Role, Schema, ThinkSwitch
from orchestrator.errors import ContextExceeded, EngineProtocol, MissingCapability
from orchestrator.think_tags import CLOSES, OPENS
from orchestrator.types import Message, Stop, TokenLogprob

__all__ = ["Reply", "Scripted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One scripted answer. It is cut at the first stop string or at the token limit, as a server would."""

    text: str
    top: Mapping[str, float] = field(default_factory=dict)
    """Alternatives of the first token with their natural-log probabilities, for calls that ask for logprobs."""
    latency_s: float = 0.0
    """Half of it passes before the first half of the tokens arrives, half of it after."""


Said = str | Reply | Exception
Script = Iterable[Said] | Callable[[Request], Said | Awaitable[Said]]


class Scripted:
    """Answers from a list, in order, or from a function of the request.

    An exception in the script is raised instead of answering. A list that runs out raises
    EngineProtocol: it never starts again from the front. Every request is kept in `requests`.
    `family` names its tokenizer: engines of different families do not exchange ids. `writes` is EngineSpec's and
    `think_switch` that of Capabilities; its own lines are the same whether it is to think or not.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        latency_s: float = 0.0,
        context: int = 1 << 30,
        family: str = "utf-8",
        logprobs: int = 20,
        continues: bool = True,
        writes: bool = True,
        think_switch: ThinkSwitch = "block",
    ) -> None:
        self.name = name
        self.writes = writes
        self.requests: list[Request] = []
        self._answer: Callable[[Request], Said | Awaitable[Said]]
        if callable(script):
            self._answer = script
        else:
            replies: Iterator[Said] = iter(script)
            self._answer = lambda request: self._next(replies)
        self._latency_s = latency_s
        self._capabilities = Capabilities(
            server="scripted",
            model=name,
            context=context,
            tokenizer=family,
            continues=continues,
            token_ids=continues,
            logprobs=logprobs,
            think_tags=(list(_bytes(OPENS)), list(_bytes(CLOSES))) if continues else ((), ()),
            think_switch=think_switch if continues else "",
            missing={} if logprobs else {"logprobs": "this script has none"},
        )

    def _next(self, replies: Iterator[Said]) -> Said:
        for reply in replies:
            return reply
        message = f"the script of engine {self.name!r} ran out after {len(self.requests) - 1} replies: add more"
        raise EngineProtocol(message, engine=self.name)

    async def start(self) -> Capabilities:
        """Return the capabilities given at construction."""
        return self._capabilities

    async def render(
        self, messages: Sequence[Message], *, think: bool | None = None, tools: Sequence[Schema] = ()
    ) -> list[int]:
        """Return `role: content` lines and an open assistant line, as bytes; `think` and `tools` show nowhere."""
        lines = [f"{message.role}: {message.content}\n" for message in messages]
        return list(_bytes("".join(lines) + "assistant: "))

    async def interject(
        self, content: str, prefill: str, *, think: bool | None = None, role: Role = "user"
    ) -> list[int]:
        """Return a line of `role` and an open assistant line, as bytes."""
        return list(_bytes(f"\n{role}: {content}\nassistant: {prefill}"))

    async def encode(self, text: str) -> list[int]:
        """Return the bytes of `text`."""
        return list(_bytes(text))

    async def complete(self, request: Request) -> Completion:
        """Answer with the next reply of the script."""
        self.requests.append(request)
        prompt_tokens = self._check(request)
        started = perf_counter()
        said = self._answer(request)
        if isawaitable(said):
            said = await said
        if isinstance(said, Exception):
            raise said
        reply = Reply(text=said) if isinstance(said, str) else said
        text, ids, stop, stop_text = _cut(reply.text, request)
        latency_s = reply.latency_s or self._latency_s
        if latency_s:
            await asyncio.sleep(latency_s / 2)
            request.progress.output_tokens = len(ids) // 2
            await asyncio.sleep(latency_s / 2)
        request.progress.output_tokens = len(ids)
        return Completion(
            text=text,
            ids=list(ids),
            stop=stop,
            stop_text=stop_text,
            prompt_tokens=prompt_tokens,
            output_tokens=len(ids),
            logprobs=_logprobs(ids, reply.top, request.logprobs) if request.logprobs and reply.top else None,
            seconds=perf_counter() - started,
        )

    def _check(self, request: Request) -> int:
        if request.prompt is None:
            return sum(len(_bytes(message.content)) for message in request.messages or ())
        if not self._capabilities.continues:
            raise MissingCapability(f"engine {self.name!r} is chat-only: it cannot continue a step")
        if len(request.prompt) >= self._capabilities.context:
            raise ContextExceeded.of(self.name, len(request.prompt), self._capabilities.context)
        return len(request.prompt)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _cut(text: str, request: Request) -> tuple[str, bytes, Stop, str]:
    stop, stop_text = Stop.END, ""
    places = [(place, string) for string in request.stop if (place := text.find(string)) >= 0]
    if places:
        place, stop_text = min(places)
        text, stop = text[: place + len(stop_text)], Stop.DELIMITER
    ids = _bytes(text)
    if len(ids) <= request.max_tokens:
        return text, ids, stop, stop_text
    whole = ids[: request.max_tokens].decode("utf-8", "ignore")
    return whole, _bytes(whole), Stop.LENGTH, ""


def _logprobs(ids: bytes, top: Mapping[str, float], k: int) -> tuple[TokenLogprob, ...]:
    ranked = sorted(top.items(), key=lambda item: -item[1])[:k]
    alternatives = tuple(TokenLogprob(_bytes(text)[0], text, logprob) for text, logprob in ranked)
    first = chr(ids[0]) if ids else ""
    return (TokenLogprob(ids[0] if ids else -1, first, top.get(first, 0.0), alternatives),)
