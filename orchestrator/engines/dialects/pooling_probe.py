"""Find out by trying what a vLLM server that pools, and its model, can do."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engines.base import Capabilities
from orchestrator.engines.dialects.fingerprint import PROBES, fingerprint
from orchestrator.engines.dialects.pooling_reply import POOL, body, probabilities
from orchestrator.engines.dialects.vllm_probe import card_of, seams, server
from orchestrator.engines.dialects.vllm_tokenizer import VllmTokenizer
from orchestrator.engines.http import Transport
from orchestrator.errors import EngineProtocol, EngineRejected

__all__ = ["PoolingTokenizer", "probe"]

_WRITTEN = frozenset(
    f"<{slash}{name}>" for slash in ("", "/") for name in ("think", "answer", "tool", "tool_call", "tool_response")
)
"""Tags that models write as text."""


class PoolingTokenizer(VllmTokenizer):
    """The tokenizer of a served model that writes nothing, and the tag that closes each step for it, if any."""

    tag: tuple[int, ...] = ()

    async def encode(self, text: str) -> list[int]:
        """Tokenise `text` as data; where there is a step tag, without trailing space and with the tag behind it."""
        if not self.tag:
            return await super().encode(text)
        return [*await super().encode(text.rstrip()), *self.tag]

    def num_steps(self, ids: Sequence[int]) -> int | None:
        """Return how many steps the tag closes in a prompt; None where there is no tag."""
        if not self.tag:
            return None
        width = len(self.tag)
        return sum(tuple(ids[place : place + width]) == self.tag for place in range(len(ids) - width + 1))

    async def is_special(self, id_: int) -> bool:
        """Go by the token's name: a server that cannot be made to write it tells no other way."""
        return await self.decode([id_]) not in _WRITTEN


async def probe(line: Transport, model: str | None, step_tag: str | None) -> tuple[Capabilities, PoolingTokenizer]:
    """Return what `model`, or the only one served, can do, and its tokenizer.

    Raises EngineRejected, saying how one is served, if it is no model that classifies.
    """
    card = await card_of(line, model)
    missing = {
        "token_ids": "it writes nothing",
        "cached_tokens": "vLLM does not report them for pooling models",
    }
    tokenizer = PoolingTokenizer(line, str(card["id"]))
    if why := await tokenizer.find_template():
        missing["chat_template"] = why
    if why := await tokenizer.turns.find_tool_role():
        missing["tool_role"] = why
    if step_tag is not None:
        tokenizer.tag = tuple(await tokenizer.parse(step_tag))
    elif why := await seams(tokenizer):
        missing["seamless_text"] = why
    encoded = [await tokenizer.encode(text) for text in PROBES]
    return Capabilities(
        server=await server(line),
        model=str(card["id"]),
        context=card["max_model_len"],
        tokenizer=fingerprint(encoded),
        continues=True,
        token_ids=False,
        logprobs=await _classes(line, str(card["id"]), encoded[0], tokenizer.num_steps(encoded[0])),
        chat_template=tokenizer.turns.has_template,
        missing=missing,
    ), tokenizer


async def _classes(line: Transport, model: str, prompt: list[int], steps: int | None) -> int:
    """Return how many classes the model knows."""
    try:
        reply = await line.post(POOL, body(model, prompt))
        return len(probabilities(line, reply, steps=steps, tokens=len(prompt)))
    except (EngineRejected, EngineProtocol) as error:
        mend = "serve a process reward model with --runner pooling, and name the step_tag if it reads steps at one"
        what = f"engine {line.engine!r}: the server at {line.base_url} does not measure: {mend} ({error})"
        raise EngineRejected(what, engine=line.engine) from error
