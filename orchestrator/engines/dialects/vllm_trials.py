"""Try whether a vLLM server keeps its word where it would fail in silence: a few tokens each.

A trial that fails is no verdict but a reason: it is made once, and stops nothing. That a server has
died is found by the next call that something depends on.

Measured on vLLM 0.32, its build for the CPU:
- with any speculation on, text sampled at a temperature is broken, and so is greedy text that runs in the same
  batch: the kernel that spreads the temperatures over drafted tokens fills a copy, and the logits are divided by
  whatever was in memory. Greedy text alone, and the logprobs of any text, are right;
- a thinking budget is honoured to the token with ngram speculation on and off. It counts from the last start
  tag, in the prompt as well, and the end tag is forced: it may be all but impossible by its own logprob.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestrator.engines.dialects.openai_api import cached_tokens
from orchestrator.engines.dialects.vllm_tokenizer import COMPLETIONS
from orchestrator.engines.http import Transport
from orchestrator.errors import EngineError, EngineRejected
from orchestrator.think_tags import CLOSES

__all__ = ["REPETITION", "drafted", "prefix_cache", "thinking_budget"]

REPETITION = "1 2 3 4 " * 4
"""Of so few different tokens that whatever is drawn from them came before, and is drafted."""

_LONGEST_S = 30.0
_DRAWN = 16
_COLD = 0.01
"""A temperature so low that a draw is the likeliest token but for near ties."""
_IMPOSSIBLE = 0.5
"""Nats below the likeliest: at the temperature `_COLD` such a token has a probability below e**-50."""
_MASKED = -1000.0
"""A token this unlikely was shut out: the server shows logprobs after its mask and the temperature."""
_BUDGETS = (2, 5)
_PHRASE = 40
"""Tokens that a server may say before the end tag that it forces."""
_EQUAL = (257, 2049)
"""Tokens of a prompt sent twice: two blocks of 128, the CPU build's, and the last token, which is always computed.
Models with a state beside attention have longer blocks, so a longer prompt is tried before a server is accused."""
_NEUTRAL = {"top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1.0, "seed": 0}


async def drafted(
    line: Transport, model: str, prompt: Sequence[int], logprobs: int, *, is_sampled: bool
) -> dict[str, str]:
    """Write a text that speculation drafts; return what is wrong with it, as capability -> reason.

    `prompt` is REPETITION. The draw is greedy unless `is_sampled`: where sampling is broken, it spoils
    the calls beside it. A draw is judged by its logprobs: where they do not tell, `sampling_trial` has the reason.
    """
    if not logprobs:
        return {"sampling_trial": "the server gives no logprobs to judge it by"} if is_sampled else {}
    trial = "sampling_trial" if is_sampled else "logprobs_trial"
    body = _NEUTRAL | {
        "model": model,
        "prompt": list(prompt),
        "max_tokens": _DRAWN,
        "temperature": _COLD if is_sampled else 0,
        "allowed_token_ids": sorted(set(prompt)),
        "ignore_eos": True,
        "logprobs": logprobs,
        "return_tokens_as_token_ids": True,
    }
    try:
        reply = await _once(line, body)
        with line.reading(COMPLETIONS):
            choice, number = reply["choices"][0], int(reply["usage"]["completion_tokens"])
            columns = choice.get("logprobs") or {"token_logprobs": (), "top_logprobs": ()}
            tokens = list(zip(columns["token_logprobs"], columns["top_logprobs"], strict=True))
            why = _untold(tokens, number)
            least = None if why else _worst(tokens, {f"token_id:{id_}" for id_ in prompt})
    except EngineError as error:
        return {trial: f"it failed: {error}"}
    wrong = {"logprobs": why} if why else {}
    if not is_sampled:
        return wrong
    if least is None:
        untold = why or "the server shows logprobs after its mask and the temperature: start it without --logprobs-mode"
        wrong["sampling_trial"] = f"the draw cannot be judged: {untold}"
    elif least > _IMPOSSIBLE:
        wrong["samples"] = (
            f"at temperature {_COLD} it drew a token {least:.1f} nats less likely than the likeliest, as vLLM's "
            "build for the CPU does while it speculates: set temperature 0 for every call of this server, or "
            'speculation method = "none"'
        )
    return wrong


async def _once(line: Transport, body: Mapping[str, Any]) -> Any:
    return await line.once(COMPLETIONS, body, timeout_s=min(line.timeout_s, _LONGEST_S))


_Tokens = Sequence[tuple[float | None, Mapping[str, float] | None]]
"""Of each token its own logprob and those that are listed beside it."""


def _untold(tokens: _Tokens, number: int) -> str:
    """Return why these logprobs say nothing of a text of `number` tokens, or nothing if they do."""
    told = [(own, top) for own, top in tokens if own is not None and top]
    if len(told) < number:
        return f"the server gives them for {len(told)} of {number} drafted tokens"
    # No two tokens are certain at once; one may be, and is alone at 0.0.
    if zeros := sum(own == 0 and len(top) > 1 and not any(top.values()) for own, top in told):
        return f"the server gives 0.0 for {zeros} of {number} drafted tokens and for all their alternatives"
    return ""


def _worst(tokens: _Tokens, allowed: Collection[str]) -> float | None:
    """Return how many nats the least likely draw is below the likeliest allowed token; None if that is not told."""
    found = 0.0
    for own, top in tokens:
        assert own is not None and top is not None
        if min(top.values()) < _MASKED:
            return None
        found = max(found, max((value for name, value in top.items() if name in allowed), default=own) - own)
    return found


async def thinking_budget(
    line: Transport, model: str, start: Sequence[int], thoughts: Sequence[int], *, speculates: bool
) -> str:
    """Return why a thinking budget does not end the thinking, or nothing if it does.

    `start` is `<think>` and `thoughts` what stands behind it.
    """
    ends = []
    try:
        for budget in _BUDGETS:
            body = _NEUTRAL | {
                "model": model,
                "prompt": [*start, *thoughts],
                "max_tokens": budget + _PHRASE,
                "temperature": 0,
                "ignore_eos": True,
                "stop": [CLOSES],
                "skip_special_tokens": False,
                "thinking_token_budget": len(thoughts) + budget,
            }
            reply = await _once(line, body)
            with line.reading(COMPLETIONS):
                if reply["choices"][0].get("stop_reason") != CLOSES:
                    what = "the server takes one and thinks on past it"
                    return f"{what}; speculation is on" if speculates else what
                ends.append(int(reply["usage"]["completion_tokens"]))
    except EngineRejected as error:
        return f"start it with --reasoning-parser or --reasoning-config ({error})"
    except EngineError as error:
        return f"it could not be tried: {error}"
    return "" if ends[0] < ends[1] else "it could not be tried: the model ends its thinking by itself"


async def prefix_cache(line: Transport, model: str, tokens: Sequence[int], context: int) -> str:
    """Return why a prompt that was sent before is computed anew, or nothing if it is not, or fits no `context`.

    The prompt repeats `tokens`. The server must report cached tokens.
    """
    lengths = [min(length, context - 1) for length in _EQUAL if context > _EQUAL[0]]
    try:
        for length in lengths:
            prompt = (list(tokens) * length)[:length]
            body = _NEUTRAL | {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0}
            await _once(line, body)
            reply = await _once(line, body)
            with line.reading(COMPLETIONS):
                if cached_tokens(reply["usage"]) != 0:
                    return ""
    except EngineError as error:
        return f"it could not be tried: {error}"
    if not lengths:
        return ""
    what = f"an equal prompt of {lengths[-1]} tokens is computed anew: start it with --enable-prefix-caching"
    return f"{what}; data-parallel engines have one each"
