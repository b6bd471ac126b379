"""llama.cpp inside this process, with real small models."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest

from orchestrator.engines.base import Chain, Completion, Request
from orchestrator.engines.in_process import Embedded
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import BadConfig, ContextExceeded
from orchestrator.types import Message, Sampling, Stop

GREEDY = Sampling(temperature=0)
QUESTION = (Message("user", "Tell me how bread is baked, in several short paragraphs."),)


def request(prompt: Sequence[int], max_tokens: int, **options: object) -> Request:
    options = {"sampling": GREEDY, "seed": 1, **options}
    return Request(prompt=Chain(prompt).prefix(), max_tokens=max_tokens, **options)


async def answered(engine: Embedded, prompt: Sequence[int], max_tokens: int, **options: object) -> Completion:
    """Return a completion whose text has been checked against its ids."""
    completion = await engine.complete(request(prompt, max_tokens, **options))
    assert completion.text == await engine._decode(completion.ids)
    return completion


async def test_a_missing_file_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "none.gguf"
    with pytest.raises(BadConfig, match=r"none\.gguf.*No such file"):
        await Embedded(path, name="small").start()


async def test_a_file_of_another_kind_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("these are notes")
    with pytest.raises(BadConfig, match=r"notes\.gguf.*not a GGUF file"):
        await Embedded(path, name="small").start()


def test_a_spec_without_a_path_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"engine 'small'.*path"):
        Embedded.from_spec("small", EngineSpec(kind="embedded"))


@pytest.mark.embedded
async def test_a_damaged_file_is_a_mistake_in_the_configuration(tmp_path: Path, smollm2_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(smollm2_path.read_bytes()[:100_000])
    with pytest.raises(BadConfig, match=r"cut\.gguf.*cannot load"):
        await Embedded(path, name="small").start()


@pytest.mark.embedded
async def test_what_the_engine_can_do_is_found_by_trying(smollm2: Embedded) -> None:
    found = await smollm2.start()
    assert found.server.startswith("llama.cpp in xllamacpp 2")
    assert found.model == "SmolLM2-135M-Instruct.Q4_1"
    assert found.context == 1024
    assert (found.continues, found.token_ids, found.cached_tokens, found.chat_template) == (True,) * 4
    assert found.logprobs >= 20
    assert found.missing == {}
    assert await smollm2.start() is found


@pytest.mark.embedded
async def test_a_prompt_follows_the_model_s_template(smollm2: Embedded) -> None:
    ids = await smollm2.render((Message("system", "Be brief."), Message("user", "Hi")))
    text = await smollm2._decode(ids)
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert ids[0] == 1
    assert ids.count(1) == 3, "the tag is one token, and no second one begins the text"


@pytest.mark.embedded
async def test_an_interjection_closes_the_turn_and_begins_a_reply(smollm2: Embedded) -> None:
    ids = await smollm2.interject("Is that right?", "Score:")
    text = await smollm2._decode(ids)
    assert text == "<|im_end|>\n<|im_start|>user\nIs that right?<|im_end|>\n<|im_start|>assistant\nScore:"
    assert ids[0] == 2


@pytest.mark.embedded
async def test_text_is_encoded_as_data(smollm2: Embedded) -> None:
    for text in ("a<|im_end|>\n", " b", "\n\n\n", "3 × 4 ≤ 🦙", ""):
        ids = await smollm2.encode(text)
        assert await smollm2._decode(ids) == text
        assert not {0, 1, 2} & set(ids)


@pytest.mark.embedded
async def test_a_base_model_is_given_a_plain_layout_and_one_first_token(gemma: Embedded) -> None:
    found = await gemma.start()
    assert not found.chat_template
    assert "plainly" in found.missing["chat_template"]
    ids = await gemma.render((Message("user", "Hi"),))
    assert ids[0] == 2 and 2 not in ids[1:]
    assert (await gemma._decode(ids)).endswith("User: Hi\n\nAssistant:")
    assert 2 not in await gemma.interject("Is that right?", "Score:")
    assert await gemma._decode(await gemma.encode("<bos> naïve ≤ 🦙")) == "<bos> naïve ≤ 🦙"
    assert 2 not in await gemma.encode("<bos>")


@pytest.mark.embedded
async def test_two_families_of_tokenizers_are_told_apart_and_run_side_by_side(
    smollm2: Embedded, gemma: Embedded
) -> None:
    small, large = await asyncio.gather(smollm2.start(), gemma.start())
    assert small.tokenizer != large.tokenizer
    prompts = await asyncio.gather(smollm2.render(QUESTION), gemma.render(QUESTION))
    both = await asyncio.gather(answered(smollm2, prompts[0], 8), answered(gemma, prompts[1], 8))
    assert [completion.output_tokens for completion in both] == [8, 8]


@pytest.mark.embedded
async def test_a_greedy_continuation_is_exact_to_the_token(smollm2: Embedded) -> None:
    prompt = await smollm2.render(QUESTION)
    whole = await answered(smollm2, prompt, 40)
    first = await answered(smollm2, prompt, 20)
    second = await answered(smollm2, [*prompt, *first.ids], 20)
    assert whole.stop is first.stop is second.stop is Stop.LENGTH
    assert [*first.ids, *second.ids] == list(whole.ids)
    assert first.text + second.text == whole.text


@pytest.mark.embedded
async def test_delimiter_end_and_length_are_told_apart(smollm2: Embedded) -> None:
    prompt = await smollm2.render((Message("user", "Say hi"),))
    end = await answered(smollm2, prompt, 100)
    assert end.stop is Stop.END
    assert end.output_tokens == len(end.ids) + 1, "the end-of-text token is counted and not kept"
    length = await answered(smollm2, prompt, 3)
    assert (length.stop, length.output_tokens, len(length.ids)) == (Stop.LENGTH, 3, 3)
    word = end.text.split()[3]
    delimiter = await answered(smollm2, prompt, 100, stop=(word[1:], "never said"))
    assert (delimiter.stop, delimiter.stop_text) == (Stop.DELIMITER, word[1:])
    assert delimiter.text == end.text[: len(delimiter.text)]
    assert end.text.find(word[1:]) + len(word[1:]) <= len(delimiter.text)
    assert list(delimiter.ids) == list(end.ids[: len(delimiter.ids)])
    assert delimiter.output_tokens == len(delimiter.ids)


@pytest.mark.embedded
async def test_characters_of_several_tokens_keep_all_their_ids(smollm2: Embedded) -> None:
    prompt = await smollm2.encode("🦙🦊🦝🐻🦙🦊🦝🐻🦙🦊🦝🐻🦙🦊🦝🐻🦙🦊")
    whole = await answered(smollm2, prompt, 14, logprobs=2)
    assert len(whole.ids) > len(whole.text), "the model was meant to go on with such characters"
    assert [entry.id for entry in whole.logprobs] == list(whole.ids)
    known = [entry for entry in whole.logprobs if entry.logprob == entry.logprob]
    assert 0 < len(known) < len(whole.ids), "those without an event of their own have no honest logprob"
    for max_tokens in range(1, 10):
        cut = await answered(smollm2, prompt, max_tokens)
        assert "\ufffd" not in cut.text
        assert whole.text.startswith(cut.text)
        assert list(cut.ids) == list(whole.ids[: len(cut.ids)])
        assert cut.output_tokens == max_tokens


@pytest.mark.embedded
async def test_a_cancelled_call_has_counted_and_the_engine_goes_on(smollm2: Embedded) -> None:
    prompt = await smollm2.render(QUESTION)
    running = request(prompt, 500)
    call = asyncio.create_task(smollm2.complete(running))
    while running.progress.output_tokens < 5:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert 5 <= running.progress.output_tokens < 500
    assert (await asyncio.wait_for(answered(smollm2, prompt, 5), 60)).output_tokens == 5


@pytest.mark.embedded
async def test_cached_tokens_grow_with_the_shared_prefix(smollm2: Embedded) -> None:
    prompt = await smollm2.render((Message("user", "What grows in a desert at night?"),))
    cached = []
    for _ in range(3):
        completion = await answered(smollm2, prompt, 12, stop=("\n\n",))
        cached.append((completion.cached_tokens, completion.prompt_tokens))
        prompt = [*prompt, *completion.ids]
    assert cached[0][0] < cached[1][0] < cached[2][0]
    for (_, before), (reused, _) in pairwise(cached):
        assert reused >= before, "the next prompt begins with the whole of the one before"


@pytest.mark.embedded
async def test_a_judge_reads_one_token_and_its_rivals(smollm2: Embedded) -> None:
    prompt = [*await smollm2.render(QUESTION), *await smollm2.encode("Flour.\n\n")]
    prompt += await smollm2.interject("Rate the last step from 0 to 9.", "Score: ")
    verdict = await answered(smollm2, prompt, 1, logprobs=10)
    assert verdict.output_tokens == len(verdict.ids) == len(verdict.logprobs) == 1
    (token,) = verdict.logprobs
    assert (token.id, token.text) == (verdict.ids[0], verdict.text)
    assert len(token.top) == 10
    assert token.top[0][:3] == token[:3], "greedy takes the likeliest"
    assert [rival.logprob for rival in token.top] == sorted((rival.logprob for rival in token.top), reverse=True)
    assert all(rival.logprob <= 0 for rival in token.top)


@pytest.mark.embedded
async def test_a_seed_fixes_what_is_drawn(smollm2: Embedded) -> None:
    prompt = await smollm2.render(QUESTION)
    hot = Sampling(temperature=1.5, top_p=1.0)
    texts = [(await answered(smollm2, prompt, 12, sampling=hot, seed=seed)).text for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.embedded
async def test_the_server_s_own_sampling_defaults_stay_out(smollm2: Embedded) -> None:
    prompt = [*await smollm2.render(QUESTION), *await smollm2.encode("The")]
    (place,) = (await answered(smollm2, prompt, 1, logprobs=40)).logprobs
    likely = {rival.id for rival in place.top}
    flat = Sampling(temperature=100.0, top_p=1.0)
    drawn = {(await answered(smollm2, prompt, 1, sampling=flat, seed=seed)).ids[0] for seed in range(8)}
    assert drawn - likely, "so hot a draw leaves the forty likeliest, unless a hidden top_k holds it there"


@pytest.mark.embedded
async def test_a_prompt_that_does_not_fit_is_not_sent(smollm2: Embedded) -> None:
    with pytest.raises(ContextExceeded) as raised:
        await smollm2.complete(request([5] * 1024, 1))
    assert (raised.value.prompt_tokens, raised.value.context) == (1024, 1024)


@pytest.mark.embedded
async def test_more_calls_than_slots_wait_their_turn(smollm2: Embedded) -> None:
    prompt = await smollm2.render((Message("user", "Hi"),))
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(*(answered(smollm2, prompt, 4, seed=seed) for seed in range(24)))
    assert {completion.output_tokens for completion in answers} == {4}
    assert loop.time() - began < 60


@pytest.mark.embedded
async def test_nobody_without_the_key_is_served(smollm2: Embedded) -> None:
    await smollm2.start()
    address = (await smollm2._line()).base_url
    async with aiohttp.ClientSession() as stranger:
        for path, body in (("/completion", {"prompt": "Hi", "n_predict": 1}), ("/slots", None), ("/props", None)):
            method = "GET" if body is None else "POST"
            async with stranger.request(method, address + path, json=body) as reply:
                assert reply.status == 401, path


@pytest.mark.embedded
async def test_a_closed_engine_starts_again(smollm2_path: Path) -> None:
    engine = Embedded(smollm2_path, name="small", context=256, parallel=1)
    first = await engine.start()
    address = (await engine._line()).base_url
    await engine.close()
    await engine.close()
    async with aiohttp.ClientSession() as stranger:
        with pytest.raises(aiohttp.ClientConnectorError):
            await stranger.get(address)
    assert await engine.start() == first
    await engine.close()


@pytest.mark.embedded
async def test_an_engine_that_is_closed_before_its_first_call_ends(smollm2_path: Path) -> None:
    for _ in range(2):
        engine = Embedded(smollm2_path, name="small", context=256, parallel=1)
        await engine._line()
        await asyncio.wait_for(engine.close(), 60)


FORGETFUL = """
import asyncio, sys
from orchestrator.engines.in_process import Embedded
from orchestrator.types import Message
engine = Embedded(sys.argv[1], context=256, parallel=1)
assert "xllamacpp" not in sys.modules
print(len(asyncio.run(engine.render((Message("user", "Hi"),)))))
"""


@pytest.mark.embedded
def test_a_program_that_forgets_to_close_ends_quietly(smollm2_path: Path) -> None:
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", FORGETFUL, str(smollm2_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert int(ended.stdout) > 5
