"""An engine behind a llama.cpp server, spoken to in its native tongue.

The OpenAI-style endpoints of llama.cpp cannot tell a delimiter from the end and return no ids, so
/completion, /tokenize, /detokenize, /apply-template and /props are used. It hangs up after a streamed
reply without saying so, which is why its transport keeps no connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import PurePath
from time import perf_counter
from typing import Any

from orchestrator.engines.base import Capabilities, Completion, Request, Role, Schema
from orchestrator.engines.dialects import plain
from orchestrator.engines.dialects.fingerprint import PROBES, fingerprint
from orchestrator.engines.dialects.llamacpp_reply import Reply
from orchestrator.engines.dialects.openai_api import chosen
from orchestrator.engines.dialects.turns import Turns
from orchestrator.engines.http import Transport
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.start_once import StartOnce
from orchestrator.engines.whole import Pieces
from orchestrator.errors import BadConfig, ContextExceeded, EngineError, EngineRejected, EngineUnavailable
from orchestrator.think_tags import CLOSES, OPENS
from orchestrator.types import Message, Sampling

__all__ = ["LlamaCpp"]

_TRIAL_LOGPROBS = 100
_TRIAL_TEXT = "One, two, three, four,"
_CHATML = "<|im_start|>"
_FIELDS = [
    "content",
    "tokens",
    "stop_type",
    "stopping_word",
    "tokens_predicted",
    "tokens_evaluated",
    "timings",
    "completion_probabilities",
]
"""Of a whole reply and of a stream's last event; the rest, the prompt included, is never sent."""


class LlamaCpp:
    """A llama.cpp server at `url`, e.g. `http://127.0.0.1:8080`."""

    def __init__(
        self,
        url: str,
        *,
        name: str = "llamacpp",
        model: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 600.0,
    ) -> None:
        self.name = name
        self._url = url.rstrip("/").removesuffix("/v1")
        self._model = model
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._transport: Transport | None = None
        self._first_ids: list[int] = []
        self._turns = self._fresh_turns()
        self._pieces = Pieces(self._decode)
        self._started = StartOnce(self._probe)

    @classmethod
    def from_spec(cls, name: str, spec: EngineSpec) -> LlamaCpp:
        """Return the engine `spec` describes. Raises BadConfig if it lacks the address."""
        if spec.url is None:
            raise BadConfig(f"engine {name!r}: give the url of its llama.cpp server, e.g. http://127.0.0.1:8080")
        return cls(spec.url, name=name, model=spec.model, api_key=spec.api_key, timeout_s=spec.timeout_s)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    async def start(self) -> Capabilities:
        """Find out, by trying, what the server can do."""
        return await self._started.get()

    async def render(
        self, messages: Sequence[Message], *, think: bool | None = None, tools: Sequence[Schema] = ()
    ) -> list[int]:
        """Return the prompt ids of a conversation, laid out by the model's template if it has one.

        Names of special tokens inside the messages are read as such, as by every chat server.
        """
        if (await self.start()).chat_template:
            text = await self._templated(messages, think, tools)
        else:
            text = plain.render(messages)
        ids = await self._parse(text)
        # Some templates write the first token themselves, some leave it to the tokenizer; it is wanted once.
        return ids if ids[: len(self._first_ids)] == self._first_ids else self._first_ids + ids

    async def interject(
        self, content: str, prefill: str, *, think: bool | None = None, role: Role = "user"
    ) -> list[int]:
        """Return the ids that close the open turn, let `role` say `content` and begin a reply with `prefill`."""
        await self.start()
        return await self._turns.between(content, prefill, think, role)

    async def encode(self, text: str) -> list[int]:
        """Tokenise `text` as data."""
        await self.start()
        return await self._encode(text)

    async def complete(self, request: Request) -> Completion:
        """Generate; streamed unless one token is wanted. Raises ContextExceeded before anything is sent."""
        capabilities = await self.start()
        prompt = await self._prompt(request)
        if len(prompt) >= capabilities.context:
            raise ContextExceeded.of(self.name, len(prompt), capabilities.context)
        body = _body(request, prompt)
        started = perf_counter()
        reply = Reply()
        if request.max_tokens == 1:
            await self._at_once(reply, body, request)
            first_token_s = None
        else:
            first_token_s = await self._streamed(reply, body, request, started)
        await reply.settle(self._pieces, self._encode)
        assert reply.stop is not None
        return Completion(
            text=reply.text,
            ids=reply.ids,
            stop=reply.stop,
            stop_text=reply.stop_text,
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            output_tokens=reply.output_tokens,
            logprobs=tuple(reply.logprobs) if request.logprobs else None,
            seconds=perf_counter() - started,
            first_token_s=first_token_s,
        )

    async def close(self) -> None:
        """Close the connections."""
        self._started.forget()
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    # --- completing ---------------------------------------------------------------------------

    async def _prompt(self, request: Request) -> list[int]:
        if request.prompt is not None:
            return request.prompt.ids()
        return await self.render(request.messages or (), tools=request.tools)

    async def _at_once(self, reply: Reply, body: dict[str, Any], request: Request) -> None:
        transport = await self._line()
        answer = await transport.once("/completion", body, timeout_s=request.timeout_s)
        with transport.reading("/completion"):
            reply.add(answer)
        self._require_end(reply)
        request.progress.output_tokens = reply.output_tokens

    async def _streamed(self, reply: Reply, body: dict[str, Any], request: Request, started: float) -> float | None:
        """Take in the stream; return the seconds until its first token."""
        transport = await self._line()
        first_token_s = None
        try:
            stream = transport.stream("/completion", body | {"stream": True}, timeout_s=request.timeout_s)
            async with aclosing(stream) as arrivals:
                async for events in arrivals:
                    with transport.reading("/completion"):
                        for event in events:
                            reply.add(event)
                    request.progress.output_tokens = reply.output_tokens
                    if first_token_s is None and reply.output_tokens:
                        first_token_s = perf_counter() - started
            self._require_end(reply)
        except EngineError as error:
            error.output_tokens = reply.output_tokens
            raise
        return first_token_s

    def _require_end(self, reply: Reply) -> None:
        if reply.stop is None:
            line = f"engine {self.name!r}: the server ended the stream in mid-completion; look at its log"
            raise EngineUnavailable(line, engine=self.name)

    # --- prompts ------------------------------------------------------------------------------

    def _fresh_turns(self) -> Turns:
        return Turns(self.name, self._templated, self._parse, self._encode)

    async def _templated(self, messages: Sequence[Message], think: bool | None, tools: Sequence[Schema] = ()) -> str:
        body: dict[str, Any] = {"messages": [message._asdict() for message in messages]}
        if think is not None:
            body["chat_template_kwargs"] = {"enable_thinking": think}
        if tools:
            body["tools"] = list(tools)
        transport = await self._line()
        answer = await transport.post("/apply-template", body)
        with transport.reading("/apply-template"):
            return str(answer["prompt"])

    async def _parse(self, text: str) -> list[int]:
        return await self._tokenize(text, parse_special=True)

    async def _encode(self, text: str) -> list[int]:
        return await self._tokenize(text, parse_special=False)

    async def _tokenize(self, text: str, **options: bool) -> list[int]:
        if not text and not options.get("add_special"):
            return []
        transport = await self._line()
        answer = await transport.post("/tokenize", {"content": text, "add_special": False, **options})
        with transport.reading("/tokenize"):
            return [int(id_) for id_ in answer["tokens"]]

    async def _decode(self, ids: Sequence[int]) -> str:
        transport = await self._line()
        answer = await transport.post("/detokenize", {"tokens": list(ids)})
        with transport.reading("/detokenize"):
            return str(answer["content"])

    # --- starting -----------------------------------------------------------------------------

    async def _line(self) -> Transport:
        if self._transport is None:
            self._transport = await self._connect()
        return self._transport

    async def _connect(self) -> Transport:
        return Transport(
            self.name, self._url, api_key=self._api_key, timeout_s=self._timeout_s, keeps_connections=False
        )

    async def _probe(self) -> Capabilities:
        transport = await self._line()
        card = await self._card(transport)
        props = await transport.get("/props")
        with transport.reading("/props"):
            context = int(props["default_generation_settings"]["n_ctx"])
            template, build = str(props.get("chat_template") or ""), str(props.get("build_info") or "")
        self._first_ids = await self._tokenize("", add_special=True)
        self._turns = self._fresh_turns()
        missing: dict[str, str] = {}
        self._turns.has_template = await self._fits(template)
        if not self._turns.has_template:
            missing["chat_template"] = "the model file brings none: prompts are laid out plainly"
        if why := await self._turns.find_tool_role():
            missing["tool_role"] = why
        think_tags = (await self._parse(OPENS), await self._parse(CLOSES))
        return Capabilities(
            server=f"llama.cpp {build}".strip(),
            model=str(card["id"]),
            context=context,
            tokenizer=fingerprint([await self._encode(probe) for probe in PROBES]),
            continues=True,
            chat_template=self._turns.has_template,
            think_tags=think_tags,
            think_switch=await self._turns.find_switch(think_tags),
            think_opened=await self._turns.find_opened(),
            **await self._trial(missing),
            missing=missing,
        )

    async def _card(self, transport: Transport) -> dict[str, Any]:
        """Return the entry of our model in the server's list, having made sure that it is a llama.cpp."""
        answer = await transport.get("/v1/models")
        with transport.reading("/v1/models"):
            cards = [{**card, "id": _short(card["id"])} for card in answer["data"]]
            owners = {str(card.get("owned_by")) for card in cards} - {"llamacpp"}
        if owners:
            line = f"a server of kind {min(owners)!r} answers at {transport.base_url}, not llama.cpp"
            raise EngineRejected(f"engine {self.name!r}: {line}; name the kind that fits", engine=self.name)
        return chosen(self.name, None if self._model is None else _short(self._model), cards)

    async def _fits(self, template: str) -> bool:
        """Say whether the template is the model's own.

        Without one, llama.cpp shows ChatML, whose tags are mere letters to such a model.
        """
        return bool(template) and (_CHATML not in template or len(await self._parse(_CHATML)) == 1)

    async def _trial(self, missing: dict[str, str]) -> dict[str, Any]:
        """Return the capabilities that only two tokens and a repetition can tell."""
        transport = await self._line()
        prompt = self._first_ids + await self._encode(_TRIAL_TEXT)
        body = {
            "prompt": prompt,
            "n_predict": 2,
            "n_probs": _TRIAL_LOGPROBS,
            **_COMMON,
            **_sampling(Sampling(temperature=0)),
        }
        await transport.post("/completion", body)
        answer = await transport.post("/completion", body)
        with transport.reading("/completion"):
            entries = answer.get("completion_probabilities") or [{}]
            logprobs = len(entries[0].get("top_logprobs") or ())
            token_ids = len(answer.get("tokens") or ()) == int(answer["tokens_predicted"])
            cached_tokens = isinstance((answer.get("timings") or {}).get("cache_n"), int)
        if not logprobs:
            missing["logprobs"] = "this llama.cpp returns none: update it"
        if not token_ids:
            missing["token_ids"] = "this llama.cpp returns none: texts are tokenised once more; update it"
        if not cached_tokens:
            missing["cached_tokens"] = "this llama.cpp does not report them: update it"
        return {"logprobs": logprobs, "token_ids": token_ids, "cached_tokens": cached_tokens}


_COMMON = {"return_tokens": True, "cache_prompt": True, "response_fields": _FIELDS}


def _body(request: Request, prompt: list[int]) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "n_predict": request.max_tokens,
        "stop": list(request.stop),
        "seed": request.seed,
        "n_probs": request.logprobs,
        **_COMMON,
        **_sampling(request.sampling),
    }


def _sampling(sampling: Sampling) -> dict[str, Any]:
    """Return the sampling options in llama.cpp's words.

    The list of samplers keeps its own defaults out (top_k 40, min_p 0.05, penalties). The temperature
    comes first, as in vLLM, so that one top_p means the same on both.
    """
    if sampling.temperature == 0:
        return {"temperature": 0.0, "samplers": ["top_k"], "top_k": 1}
    return {
        "temperature": sampling.temperature,
        "samplers": ["temperature", "min_p", "top_k", "top_p"],
        "min_p": sampling.min_p,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
    }


def _short(model: str) -> str:
    """Return the name of a model file without its folder and ending; any other name as it is."""
    return PurePath(model).name.removesuffix(".gguf") if model.endswith(".gguf") else model
