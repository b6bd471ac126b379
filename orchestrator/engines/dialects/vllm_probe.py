"""Find out by trying what a vLLM server and its model can do."""

from __future__ import annotations

from typing import Any

from orchestrator.engines.base import Capabilities
from orchestrator.engines.dialects.fingerprint import PROBES, fingerprint
from orchestrator.engines.dialects.openai_api import cached_tokens, chosen
from orchestrator.engines.dialects.vllm_tokenizer import COMPLETIONS, VllmTokenizer
from orchestrator.engines.dialects.vllm_trials import REPETITION, drafted, prefix_cache, thinking_budget
from orchestrator.engines.http import Transport
from orchestrator.errors import EngineRejected
from orchestrator.think_tags import CLOSES, OPENS

__all__ = ["card_of", "probe", "seams", "server"]

_TRIED_LOGPROBS = (20, 10, 5, 1)  # 20 is what a server allows unless told otherwise


async def probe(line: Transport, model: str | None, *, is_sampled: bool = True) -> tuple[Capabilities, VllmTokenizer]:
    """Return what `model`, or the only one served, can do, and its tokenizer.

    Sampling is tried only if `is_sampled`; see vllm_trials.py.
    """
    missing: dict[str, str] = {}
    card = await card_of(line, model)
    name = str(card["id"])
    tokenizer = VllmTokenizer(line, name)
    encoded = [await tokenizer.encode(text) for text in PROBES]
    if why := await tokenizer.find_template():
        missing["chat_template"] = why
    if why := await tokenizer.turns.find_tool_role():
        missing["tool_role"] = why
    logprobs, reply = await _try(line, name, encoded[0], missing)
    with line.reading(COMPLETIONS):
        token_ids = bool(reply["choices"][0].get("token_ids"))
        cached = cached_tokens(reply.get("usage") or {}) is not None
        metrics: dict[str, Any] = reply.get("metrics") or {}
        times = metrics.get("queue_time_ms") is not None
        speculates = metrics.get("speculative_decoding") is not None
    if not token_ids:
        missing["token_ids"] = "the server returns no ids (vLLM does from 0.10 on): its text is tokenised once"
    if not cached:
        missing["cached_tokens"] = "the server does not report them: start it with --enable-prompt-tokens-details"
    if not times:
        missing["metrics"] = "the server does not report them: start it with --enable-per-request-metrics"
    if not speculates:
        missing["speculates"] = "it does not, or was started without --per-request-spec-decode-metrics summary"
    think_tags = (await tokenizer.parse(OPENS), await tokenizer.parse(CLOSES))
    repetition = await tokenizer.encode(REPETITION)
    missing |= await drafted(line, name, repetition, logprobs, is_sampled=is_sampled)
    if why := await thinking_budget(line, name, think_tags[0], repetition, speculates=speculates):
        missing["thinking_budget"] = why
    if cached and (why := await prefix_cache(line, name, repetition, card["max_model_len"])):
        missing["prefix_cache"] = why
    if why := await seams(tokenizer):
        missing["seamless_text"] = why
    return Capabilities(
        server=await server(line),
        model=name,
        context=card["max_model_len"],
        tokenizer=fingerprint(encoded),
        continues=True,
        token_ids=token_ids,
        logprobs=0 if "logprobs" in missing else logprobs,
        cached_tokens=cached,
        chat_template=tokenizer.turns.has_template,
        think_tags=think_tags,
        metrics=times,
        speculates=speculates,
        think_switch=await tokenizer.turns.find_switch(think_tags),
        think_opened=await tokenizer.turns.find_opened(),
        thinking_budget="thinking_budget" not in missing,
        samples="samples" not in missing,
        missing=missing,
    ), tokenizer


async def card_of(line: Transport, model: str | None) -> dict[str, Any]:
    """Return the model's card, its context in it, having made sure that the server is a vLLM."""
    models = await line.get("/v1/models")
    with line.reading("/v1/models"):
        card = chosen(line.engine, model, models["data"])
        owner = str(card.get("owned_by", "vllm"))
    if owner != "vllm":
        what = f"a server of kind {owner!r} answers at {line.base_url}, not vLLM; name the kind that fits"
        raise EngineRejected(f"engine {line.engine!r}: {what}", engine=line.engine)
    # The card of an adapter lacks the context.
    reply = await line.post("/tokenize", {"model": card["id"], "prompt": "a"})
    with line.reading("/tokenize"):
        return card | {"max_model_len": int(reply["max_model_len"])}


async def server(line: Transport) -> str:
    """Return the server's name and version."""
    try:
        reply = await line.get("/version")
    except EngineRejected:
        return "vllm, version unknown"
    with line.reading("/version"):
        return f"vllm {reply['version']}"


async def seams(tokenizer: VllmTokenizer) -> str:
    """Return what the tokenizer adds between two texts, or nothing where it adds nothing."""
    joined = await tokenizer.decode(await tokenizer.encode("a") + await tokenizer.encode("b"))
    return "" if joined == "ab" else f"its tokenizer adds to each text it is given: 'a' and 'b' become {joined!r}"


async def _try(line: Transport, model: str, prompt: list[int], missing: dict[str, str]) -> tuple[int, Any]:
    """Return how many alternatives per token the server gives, and its reply to a call of one token."""
    body = {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0, "return_token_ids": True}
    why = ""
    for alternatives in _TRIED_LOGPROBS:
        try:
            return alternatives, await line.post(COMPLETIONS, body | {"logprobs": alternatives})
        except EngineRejected as error:
            why = str(error)
    missing["logprobs"] = why
    try:
        return 0, await line.post(COMPLETIONS, body)
    except EngineRejected as error:
        what = f"engine {line.engine!r}: the server at {line.base_url} does not write; kind pooling fits a reward model"
        raise EngineRejected(f"{what} ({error})", engine=line.engine) from error
