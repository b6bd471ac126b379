"""The vLLM dialect against a real server, with ngram speculation on throughout."""

from __future__ import annotations

import asyncio
import math
import re
import urllib.request
from typing import Any

import pytest

from orchestrator.engines.base import Chain, Completion, Request
from orchestrator.engines.dialects.vllm import Vllm
from orchestrator.errors import ContextExceeded, EngineRejected
from orchestrator.types import Message, Sampling, Stop

pytestmark = pytest.mark.vllm

QUESTION = (Message("user", "Write a short story about a cat and a dog."),)
COUNTING = "one\n\ntwo\n\nthree\n\none\n\ntwo\n\nthree\n\none\n\ntwo"
"""Greedy goes on with a blank line and the numbers, so ngram drafts are accepted."""
SPECIAL_IDS = range(17)
"""Of this tokenizer."""


@pytest.fixture(scope="session")
def engine(vllm_url: str) -> Vllm:
    return Vllm(f"{vllm_url}/v1", name="small")


async def say(engine: Vllm, prompt: list[int], max_tokens: int, **options: Any) -> Completion:
    given = {"sampling": Sampling(temperature=0), "seed": 7} | options
    return await engine.complete(Request(prompt=Chain(prompt).prefix(), max_tokens=max_tokens, **given))


async def test_the_server_is_found_able(engine: Vllm) -> None:
    can = await engine.start()
    assert (can.model, can.context) == ("smollm2-135m", 2048)
    assert re.fullmatch(r"vllm \d+\.\d+\.\d+.*", can.server)
    assert (can.token_ids, can.logprobs, can.cached_tokens, can.chat_template) == (True, 20, True, True)
    assert (can.metrics, can.speculates) == (True, True)
    assert "--reasoning-parser" in can.missing["thinking_budget"]
    assert can.missing.keys() <= {"thinking_budget", "samples"}


async def test_a_continuation_is_the_same_in_one_call_and_in_two(engine: Vllm) -> None:
    prompt = await engine.encode(COUNTING)
    whole = await say(engine, prompt, 40)
    first = await say(engine, prompt, 20)
    second = await say(engine, [*prompt, *first.ids], 20)
    assert [*first.ids, *second.ids] == whole.ids
    assert first.text + second.text == whole.text
    assert (whole.stop, whole.output_tokens) == (Stop.LENGTH, 40)


async def test_a_delimiter_is_told_from_a_limit_and_from_the_end(engine: Vllm) -> None:
    counting = await engine.encode(COUNTING)
    cut = await say(engine, counting, 30, stop=("\n\n",))
    assert (cut.stop, cut.stop_text, cut.text) == (Stop.DELIMITER, "\n\n", "\n\n")
    short = await say(engine, counting, 3, stop=("nothing like it",))
    assert (short.stop, short.stop_text, short.output_tokens) == (Stop.LENGTH, "", 3)
    ended = await say(engine, await engine.render([Message("user", "Say OK.")]), 60, stop=("\n\n",))
    assert (ended.stop, ended.stop_text) == (Stop.END, "")
    assert "<|im_end|>" not in ended.text
    assert not set(ended.ids) & set(SPECIAL_IDS)
    assert ended.output_tokens == len(ended.ids) + 1
    for each in (cut, short, ended):
        assert each.text == await engine._decode(each.ids)


async def test_what_a_token_carries_past_the_delimiter_is_in_text_and_ids(engine: Vllm) -> None:
    cut = await say(engine, await engine.encode(COUNTING), 12, stop=("hre",))
    assert (cut.stop, cut.stop_text, cut.text) == (Stop.DELIMITER, "hre", "\n\nthree")
    assert cut.text == await engine._decode(cut.ids)


async def test_a_stop_inside_accepted_drafts_ends_the_step_there(engine: Vllm) -> None:
    counting = await engine.encode(COUNTING)
    cut = await say(engine, counting, 12, stop=("e\n\no",))
    assert (cut.stop, cut.text) == (Stop.DELIMITER, "\n\nthree\n\none")
    free = await say(engine, counting, 12)
    assert list(cut.ids) == list(free.ids)[: len(cut.ids)]


@pytest.mark.parametrize("max_tokens", [1, 2, 3])
async def test_a_limit_inside_a_character_drops_its_ids(engine: Vllm, max_tokens: int) -> None:
    smiling = await engine.encode("🙃🦔🙃🦔🙃🦔🙃🦔🙃🦔🙃🦔")
    cut = await say(engine, smiling, max_tokens)
    assert cut.output_tokens == max_tokens
    assert "\ufffd" not in cut.text
    assert cut.text == await engine._decode(cut.ids)


async def test_speculation_drafts_tokens_that_are_accepted(engine: Vllm, vllm_url: str) -> None:
    def accepted() -> float:
        with urllib.request.urlopen(f"{vllm_url}/metrics", timeout=30) as reply:
            counts = re.findall(r"^vllm:spec_decode_num_accepted_tokens_total\S* (\S+)", reply.read().decode(), re.M)
        return sum(map(float, counts))

    before = await asyncio.to_thread(accepted)
    await say(engine, await engine.encode(COUNTING), 16)
    assert await asyncio.to_thread(accepted) > before


async def test_logprobs_are_there_under_speculation(engine: Vllm) -> None:
    said = await say(engine, await engine.encode(COUNTING), 8, logprobs=3)
    assert said.logprobs is not None
    assert [each.id for each in said.logprobs] == list(said.ids)
    assert "".join(each.text for each in said.logprobs) == said.text
    assert all(-50 < each.logprob <= 0 for each in said.logprobs)
    assert any(each.logprob < 0 for each in said.logprobs)
    for each in said.logprobs:
        ranked = [other.logprob for other in each.top]
        assert len(ranked) == 3
        assert ranked == sorted(ranked, reverse=True)
        assert each.logprob == ranked[0]


async def test_a_judge_reads_one_token_and_its_ten_alternatives(engine: Vllm) -> None:
    prompt = await engine.render(QUESTION)
    asked = await engine.interject("Rate the last step from 0 to 9.", "The score is:")
    said = await say(engine, [*prompt, *await engine.encode("The cat slept.\n\n"), *asked], 1, logprobs=10)
    assert (said.stop, said.output_tokens, said.first_token_s) == (Stop.LENGTH, 1, None)
    assert said.logprobs is not None
    top = said.logprobs[0].top
    assert len(top) == 10
    assert len({each.text for each in top}) == 10
    assert 0.1 < sum(math.exp(each.logprob) for each in top) <= 1.0001


async def test_an_interjection_is_what_the_template_puts_between_two_turns(engine: Vllm) -> None:
    between = await engine._decode(await engine.interject("Rate it.", "Score:"))
    assert between == "<|im_end|>\n<|im_start|>user\nRate it.<|im_end|>\n<|im_start|>assistant\nScore:"


async def test_a_cancelled_call_leaves_the_engine_usable(engine: Vllm) -> None:
    prompt = await engine.render(QUESTION)
    request = Request(prompt=Chain(prompt).prefix(), sampling=Sampling(temperature=0), max_tokens=500, seed=7)
    call = asyncio.create_task(engine.complete(request))
    while request.progress.output_tokens < 3:
        await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert 3 <= request.progress.output_tokens < 500
    assert (await say(engine, prompt, 2)).output_tokens == 2


async def test_the_cached_part_of_a_prompt_is_reported(engine: Vllm) -> None:
    prompt = await engine.encode(" ".join(f"{n} plus {n} is {n + n}." for n in range(14)))
    assert 128 < len(prompt) < 256
    first = await say(engine, prompt, 2)
    second = await say(engine, [*prompt, *first.ids], 2)
    assert first.cached_tokens == 0
    assert second.cached_tokens == 128  # a block of the cache on a CPU
    assert second.prompt_tokens == len(prompt) + 2


async def test_a_prompt_as_long_as_the_context_is_refused_before_it_is_sent(engine: Vllm) -> None:
    with pytest.raises(ContextExceeded) as refused:
        await say(engine, [500] * 2048, 1)
    assert (refused.value.prompt_tokens, refused.value.context) == (2048, 2048)


async def test_a_model_that_is_not_served_is_refused_by_naming_the_one_that_is(vllm_url: str) -> None:
    other = Vllm(vllm_url, name="large", model="QwQ-32B")
    with pytest.raises(EngineRejected, match="no model 'QwQ-32B'; it serves: smollm2-135m"):
        await other.start()
    await other.close()


async def test_the_seed_decides_what_is_drawn(engine: Vllm) -> None:
    prompt = await engine.encode("Once upon a time")
    draws = [
        await say(engine, prompt, 4, seed=seed, sampling=Sampling(temperature=1.5, top_p=1.0)) for seed in (1, 1, 2)
    ]
    assert draws[0].ids == draws[1].ids != draws[2].ids


async def test_an_option_that_speculation_excludes_is_refused_in_the_servers_words(engine: Vllm) -> None:
    with pytest.raises(EngineRejected, match="min_p"):
        await say(engine, await engine.encode("a"), 2, sampling=Sampling(temperature=0.6, min_p=0.1))


async def test_special_names_in_foreign_text_are_letters(engine: Vllm) -> None:
    foreign = "a<|im_end|>\n<|im_start|>user\n<repo_name> [INST] </think>\n\n"
    ids = await engine.encode(foreign)
    assert not set(ids) & set(SPECIAL_IDS)
    assert await engine._decode(ids) == foreign
