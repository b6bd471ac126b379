"""Engines served by vLLM: token ids in, token ids out, over `/v1/completions`.

The chat endpoint is not used: several templates re-render an assistant turn that is to be continued.
Prompts are rendered once by the server's own `/tokenize`, and every later call sends ids.

Measured on vLLM 0.32, where it explains what is sent:
- a sampling option that is left out is taken from the model's generation_config.json (top_k 20 or
  repetition_penalty 1.1 are common), so neutral values are sent too; `min_p` 0 passes the check that
  refuses `min_p` beside speculation;
- `max_tokens` beyond the context is an error, so it is cut to what is left;
- stop strings are looked for in front of the engine, which hears of one a pass or two later and, being
  told to abort, does not say what it had drafted; a token that is known to hold the whole stop string
  is therefore sent as one to stop at, too;
- the first call after a start with ngram speculation took 13 s on a CPU (it compiles its search).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from time import perf_counter
from typing import Any

from orchestrator.engines.base import Capabilities, Completion, Request
from orchestrator.engines.dialects.openai_api import cached_tokens
from orchestrator.engines.dialects.vllm_probe import probe
from orchestrator.engines.dialects.vllm_reply import Reply
from orchestrator.engines.dialects.vllm_server import VllmServer
from orchestrator.engines.dialects.vllm_tokenizer import COMPLETIONS, VllmTokenizer
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import BadConfig, ContextExceeded, EngineError, EngineUnavailable
from orchestrator.types import Stop

__all__ = ["Vllm"]


class Vllm(VllmServer[VllmTokenizer]):
    """A vLLM server and one of its models.

    `url` is the server's address, with or without the closing /v1; `model` may be None if it serves
    one. `timeout_s` is the longest wait for a call that sets no limit of its own. `is_sampled` says
    whether there will be calls at temperatures above 0: only then is that tried.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "vllm",
        model: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        is_sampled: bool = True,
    ) -> None:
        super().__init__(
            url,
            lambda line: probe(line, model, is_sampled=is_sampled),
            name=name,
            api_key=api_key,
            timeout_s=timeout_s,
        )
        self._ending: dict[str, set[int]] = {}
        """By stop string, tokens that hold it."""

    @classmethod
    def from_spec(cls, name: str, spec: EngineSpec) -> Vllm:
        """Return the engine `spec` describes. Raises BadConfig if it lacks the address."""
        if spec.url is None:
            raise BadConfig(f"engine {name!r}: give the url of its vLLM server, e.g. http://127.0.0.1:8000/v1")
        return cls(
            spec.url,
            name=name,
            model=spec.model,
            api_key=spec.api_key,
            timeout_s=spec.timeout_s,
            is_sampled=spec.writes and spec.sampling.temperature > 0,
        )

    async def complete(self, request: Request) -> Completion:
        """Generate. More than one token is streamed, so that progress counts ids as they arrive."""
        can = await self.start()
        prompt = await self._prompt(request)
        if len(prompt) >= can.context:
            raise ContextExceeded.of(self.name, len(prompt), can.context)
        reply = Reply(request.logprobs)
        try:
            body = _body(request, prompt, can)
            ending = {id_: each for each in request.stop for id_ in await self._endings(each)}
            if ending:
                body["stop_token_ids"] = sorted(ending)
            return await self._completion(request, body, reply, ending)
        except EngineError as error:
            error.output_tokens = reply.output_tokens
            raise

    async def close(self) -> None:
        """Close the connections."""
        self._ending.clear()
        await super().close()

    async def _prompt(self, request: Request) -> list[int]:
        if request.prompt is not None:
            return request.prompt.ids()
        return await self.render(request.messages or (), tools=request.tools)

    async def _endings(self, stop: str) -> set[int]:
        """Return the tokens that are known to hold a stop string: at first the one it is, if it is one."""
        if stop not in self._ending:
            tokenizer = await self._tokenizer()
            ids = await tokenizer.encode(stop)
            is_one = len(ids) == 1 and stop in await tokenizer.pieces.of(ids[0])
            self._ending[stop] = set(ids) if is_one else set()
        return self._ending[stop]

    async def _completion(
        self, request: Request, body: dict[str, Any], reply: Reply, ending: Mapping[int, str]
    ) -> Completion:
        started = perf_counter()
        first_token_s = None
        async with aclosing(self._arrivals(body, request.timeout_s)) as arrivals:
            async for events in arrivals:
                with self._line.reading(COMPLETIONS):
                    for event in events:
                        reply.add(event)
                request.progress.output_tokens = reply.output_tokens
                if first_token_s is None and reply.output_tokens and "stream" in body:
                    first_token_s = perf_counter() - started
        if reply.finish not in ("stop", "length"):
            raise self._unfinished(reply)
        output_tokens = reply.output_tokens
        stop, stop_text = reply.stopped(request.stop, ending)
        await self._settle(reply, stop, stop_text)
        return Completion(
            text=reply.text,
            ids=reply.ids,
            stop=stop,
            stop_text=stop_text,
            prompt_tokens=reply.usage.get("prompt_tokens", len(body["prompt"])),
            cached_tokens=cached_tokens(reply.usage),
            output_tokens=output_tokens,
            logprobs=tuple(reply.logprobs) if request.logprobs else None,
            seconds=perf_counter() - started,
            first_token_s=first_token_s,
            queue_s=reply.queue_s,
            drafting=reply.drafting,
        )

    async def _decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`; the tests hold completions against it."""
        return await (await self._tokenizer()).decode(ids)

    def _arrivals(self, body: dict[str, Any], timeout_s: float | None) -> AsyncGenerator[list[dict[str, Any]]]:
        if "stream" in body:
            return self._line.stream(COMPLETIONS, body, timeout_s=timeout_s)
        return self._at_once(body, timeout_s)

    async def _at_once(self, body: dict[str, Any], timeout_s: float | None) -> AsyncGenerator[list[dict[str, Any]]]:
        yield [await self._line.once(COMPLETIONS, body, timeout_s=timeout_s)]

    async def _settle(self, reply: Reply, stop: Stop, stop_text: str) -> None:
        can, tokenizer = await self._found.get()
        if can.token_ids:
            await reply.settle(stop, stop_text, tokenizer.pieces)
            if stop is Stop.DELIMITER and reply.ids and stop_text in await tokenizer.pieces.of(reply.ids[-1]):
                self._ending.setdefault(stop_text, set()).add(reply.ids[-1])
        else:
            reply.ids = await tokenizer.encode(reply.text)

    def _unfinished(self, reply: Reply) -> EngineUnavailable:
        how = f"with finish_reason {reply.finish!r}" if reply.finish else "in mid-completion"
        return EngineUnavailable(
            f"engine {self.name!r}: the server ended its reply {how}; look at its log", engine=self.name
        )


def _body(request: Request, prompt: list[int], can: Capabilities) -> dict[str, Any]:
    max_tokens = min(request.max_tokens, can.context - len(prompt))
    body = {
        "model": can.model,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "top_k": request.sampling.top_k,
        "min_p": request.sampling.min_p,
        "repetition_penalty": 1.0,
        "seed": request.seed,
        "stop": list(request.stop),
        "include_stop_str_in_output": True,
        # Tags such as </think> must be seen. Where no ids come back nothing else tells an end-of-text
        # token from text, so there it is left out together with them.
        "skip_special_tokens": not can.token_ids,
        "return_token_ids": True,
    }
    if request.logprobs:
        body["logprobs"] = request.logprobs
    if request.think_budget is not None and can.thinking_budget:
        body["thinking_token_budget"] = request.think_budget + _thought(prompt, can.think_tags)
    if max_tokens > 1:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _thought(prompt: list[int], tags: tuple[Sequence[int], Sequence[int]]) -> int:
    """Return how many of a prompt's ids vLLM counts as thought already: all behind a start tag that is still open.

    What the template puts there, such as a line break, is among them.
    """
    opens, closes = map(list, tags)
    for end in range(len(prompt), 0, -1):
        if prompt[max(0, end - len(closes)) : end] == closes:
            return 0
        if prompt[max(0, end - len(opens)) : end] == opens:
            return len(prompt) - end
    return 0
