"""Engines that only measure: a process reward model that vLLM serves as a pooling model.

A call sends the ids of a prompt to /pooling and generates nothing. Its completion has no text and no
ids; its one entry of logprobs is the most likely class, with all of them as alternatives. A class's `id`
is its place, so journal, replay and resume hold it like any other token.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import log
from time import perf_counter

from orchestrator.engines.base import Completion, Request
from orchestrator.engines.dialects.pooling_probe import PoolingTokenizer, probe
from orchestrator.engines.dialects.pooling_reply import POOL, body, probabilities
from orchestrator.engines.dialects.vllm_server import VllmServer
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import BadConfig, ContextExceeded
from orchestrator.types import Stop, TokenLogprob

__all__ = ["Pooling"]


class Pooling(VllmServer[PoolingTokenizer]):
    """A vLLM server that pools, and one of its models.

    `url` is the server's address, with or without the closing /v1; `model` may be None if it serves
    one. `step_tag` closes each step, where the model reads steps at a tag. `timeout_s` is the longest
    wait for a call that sets no limit of its own. `logprobs` of its Capabilities counts the classes.
    """

    writes = False

    def __init__(
        self,
        url: str,
        *,
        name: str = "pooling",
        model: str | None = None,
        step_tag: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 600.0,
    ) -> None:
        super().__init__(
            url, lambda line: probe(line, model, step_tag), name=name, api_key=api_key, timeout_s=timeout_s
        )

    @classmethod
    def from_spec(cls, name: str, spec: EngineSpec) -> Pooling:
        """Return the engine `spec` describes. Raises BadConfig if it lacks the address."""
        if spec.url is None:
            raise BadConfig(f"engine {name!r}: give the url of its vLLM server, e.g. http://127.0.0.1:8003/v1")
        return cls(
            spec.url,
            name=name,
            model=spec.model,
            step_tag=spec.step_tag,
            api_key=spec.api_key,
            timeout_s=spec.timeout_s,
        )

    async def complete(self, request: Request) -> Completion:
        """Return the classes of a prompt. Only the prompt counts: there is nothing to sample, to stop or to limit."""
        can = await self.start()
        prompt = request.prompt.ids() if request.prompt is not None else await self.render(request.messages or ())
        if len(prompt) > can.context:
            raise ContextExceeded.of(self.name, len(prompt), can.context)
        started = perf_counter()
        reply = await self._line.once(POOL, body(can.model, prompt), timeout_s=request.timeout_s)
        steps = (await self._tokenizer()).num_steps(prompt)
        found = probabilities(self._line, reply, steps=steps, tokens=len(prompt))
        with self._line.reading(POOL):
            prompt_tokens = int(reply["usage"]["prompt_tokens"])
        return Completion(
            text="",
            stop=Stop.END,
            prompt_tokens=prompt_tokens,
            output_tokens=0,
            logprobs=(_classes(found),),
            seconds=perf_counter() - started,
        )


def _classes(found: Sequence[float]) -> TokenLogprob:
    ranked = sorted(enumerate(found), key=lambda item: -item[1])
    least = sys.float_info.min  # no logarithm is infinite: JSON cannot hold that
    top = tuple(TokenLogprob(place, f"class {place}", min(log(max(share, least)), 0.0)) for place, share in ranked)
    return top[0]._replace(top=top)
