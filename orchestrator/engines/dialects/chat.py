"""Engines behind a chat-only API (`/v1/chat/completions`): they write whole turns and nothing less.

Such an API renders the conversation itself and cannot go on inside an assistant's turn, so step
routers refuse these engines; turn-level policies use them. Its reply does not tell a stop string from
the end of the turn, so a turn that did not run into its limit counts as ended. Token counts are the
server's; where it sends none, the pieces of the stream are counted, which is a lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from time import perf_counter
from typing import Any, NoReturn

from orchestrator.engines.base import Capabilities, Completion, Request, Role, Schema
from orchestrator.engines.dialects.openai_api import cached_tokens, chosen
from orchestrator.engines.http import Transport
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.start_once import StartOnce
from orchestrator.errors import BadConfig, EngineError, EngineRejected, EngineUnavailable, MissingCapability
from orchestrator.types import Message, Stop

__all__ = ["Chat"]

_COMPLETIONS = "/chat/completions"
_UNKNOWN_CONTEXT = 1 << 30
_ENDS = {"stop": Stop.END, "eos": Stop.END, "end_turn": Stop.END, "length": Stop.LENGTH, "max_tokens": Stop.LENGTH}


class Chat:
    """A chat-only API and one of its models.

    `url` is the API's base address, e.g. `https://api.example.com/v1`. `model` may be None if the API
    lists exactly one.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "chat",
        model: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 600.0,
    ) -> None:
        self.name = name
        self._model = model
        self._line = Transport(name, url, api_key=api_key, timeout_s=timeout_s)
        self._found = StartOnce(self._look)

    @classmethod
    def from_spec(cls, name: str, spec: EngineSpec) -> Chat:
        """Return the engine `spec` describes. Raises BadConfig if it lacks the address."""
        if spec.url is None:
            raise BadConfig(f"engine {name!r}: give the url of its chat API, e.g. https://api.example.com/v1")
        return cls(spec.url, name=name, model=spec.model, api_key=spec.api_key, timeout_s=spec.timeout_s)

    def __repr__(self) -> str:
        return f"<Chat {self.name!r}>"

    async def start(self) -> Capabilities:
        """Look up the model; nothing is generated, because that may cost money.

        Raises EngineRejected naming what is served if the model is not, BadConfig if none is named
        and there are several.
        """
        return await self._found.get()

    async def render(
        self, messages: Sequence[Message], *, think: bool | None = None, tools: Sequence[Schema] = ()
    ) -> list[int]:
        """Raise MissingCapability: the API renders conversations itself."""
        self._refuse("returns no token ids of a prompt")

    async def interject(
        self, content: str, prefill: str, *, think: bool | None = None, role: Role = "user"
    ) -> list[int]:
        """Raise MissingCapability: there is no open turn to interrupt."""
        self._refuse("cannot begin a reply for the assistant")

    async def encode(self, text: str) -> list[int]:
        """Raise MissingCapability: the API takes no token ids."""
        self._refuse("takes no token ids")

    async def complete(self, request: Request) -> Completion:
        """Write the assistant's turn. Raises MissingCapability for a prompt in ids and for logprobs."""
        if request.messages is None:
            self._refuse("cannot continue a step")
        if request.logprobs:
            self._refuse("gives no logprobs")
        body = _body(request, (await self.start()).model)
        turn = _Turn()
        started = perf_counter()
        first_token_s = None
        try:
            async with aclosing(self._line.stream(_COMPLETIONS, body, timeout_s=request.timeout_s)) as arrivals:
                async for events in arrivals:
                    with self._line.reading(_COMPLETIONS):
                        for event in events:
                            turn.add(event)
                    request.progress.output_tokens = turn.output_tokens
                    if first_token_s is None and turn.pieces:
                        first_token_s = perf_counter() - started
            stop = self._stop(turn)
        except EngineError as error:
            error.output_tokens = turn.output_tokens
            raise
        return Completion(
            text=turn.text,
            stop=stop,
            prompt_tokens=turn.usage.get("prompt_tokens") or 0,
            cached_tokens=cached_tokens(turn.usage),
            output_tokens=turn.output_tokens,
            seconds=perf_counter() - started,
            first_token_s=first_token_s,
        )

    async def close(self) -> None:
        """Close the connections."""
        self._found.forget()
        await self._line.close()

    async def _look(self) -> Capabilities:
        missing = {
            "continues": "a chat API writes whole turns: use a vLLM or llama.cpp engine for step routers",
            "token_ids": "a chat API has none",
            "logprobs": "a chat API is not asked for them",
            "cached_tokens": "known only after a call: see the ledger",
        }
        card = await self._card(missing)
        context = card.get("max_model_len") or card.get("context_length")
        if not context:
            missing["context"] = "the API does not say: a prompt that is too long is refused only when it is sent"
        return Capabilities(
            server=f"chat API at {self._line.base_url}",
            model=str(card["id"]),
            context=context or _UNKNOWN_CONTEXT,
            tokenizer="",
            continues=False,
            token_ids=False,
            missing=missing,
        )

    async def _card(self, missing: dict[str, str]) -> dict[str, Any]:
        try:
            models = await self._line.get("/models")
        except EngineRejected as error:
            if self._model is None:
                raise
            missing["models"] = f"the model's name could not be checked: {error}"
            return {"id": self._model}
        with self._line.reading("/models"):
            return chosen(self.name, self._model, models["data"])

    def _stop(self, turn: _Turn) -> Stop:
        if turn.finish in _ENDS:
            return _ENDS[turn.finish]
        if turn.finish:
            line = f"the server ended its turn with finish_reason {turn.finish!r} and will do so again"
            raise EngineRejected(f"engine {self.name!r}: {line}; ask otherwise", engine=self.name)
        raise EngineUnavailable(f"engine {self.name!r}: the server ended its reply in mid-turn", engine=self.name)

    def _refuse(self, what: str) -> NoReturn:
        mend = "use a vLLM or llama.cpp engine, or a turn-level policy"
        raise MissingCapability(f"engine {self.name!r} is a chat-only API and {what}: {mend}")


class _Turn:
    """What has arrived of the assistant's turn."""

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self.finish: str | None = None
        self.pieces = 0
        self._thoughts = ""
        self._content = ""

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event of the stream."""
        self.usage = event.get("usage") or self.usage
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            thought = delta.get("reasoning") or delta.get("reasoning_content") or ""
            content = delta.get("content") or ""
            self._thoughts += thought
            self._content += content
            self.pieces += bool(thought or content)
            self.finish = choice.get("finish_reason") or self.finish

    @property
    def text(self) -> str:
        """The turn as the model wrote it: thoughts that the server set apart are put back in front.

        They stay open where nothing follows them: a run then says that its text ended inside <think>.
        """
        if not self._thoughts:
            return _joined(self._content)
        closed = "</think>\n" if self._content else ""
        return _joined(f"<think>{self._thoughts}{closed}{self._content}")

    @property
    def output_tokens(self) -> int:
        return max(self.pieces, self.usage.get("completion_tokens") or 0)


def _joined(text: str) -> str:
    """Return `text` with the halves of surrogate pairs joined that a gateway had put into two events."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _body(request: Request, model: str) -> dict[str, Any]:
    sampling = request.sampling
    body = {
        "model": model,
        "messages": [message._asdict() for message in request.messages or ()],
        "max_tokens": request.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": request.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    # Not part of the common interface, and some APIs refuse what they do not know.
    if request.stop:
        body["stop"] = list(request.stop)
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.min_p:
        body["min_p"] = sampling.min_p
    return body
