"""Engines that only measure, against a server that says what vLLM says for a pooling model. Real ones: tests/vllm."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import exp, nan
from typing import Any

import pytest
from fake_pooling import BAD_GOOD, FakePooling, pooled
from fake_vllm import BOS, NOT_THINK, SPECIAL, FakeVllm, ids, refused, text
from stub_server import Reply, StubServer

from orchestrator import engines
from orchestrator.engines.base import Chain, Request
from orchestrator.engines.dialects.pooling import Pooling
from orchestrator.engines.dialects.vllm import Vllm
from orchestrator.engines.serving import Serving
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import BadConfig, ContextExceeded, EngineProtocol, EngineRejected, EngineUnavailable
from orchestrator.types import Message, Sampling, Stop

URL = "http://127.0.0.1:8003/v1"
PROMPT = ids("2+2=4")
Build = Callable[..., Pooling]


def request(prompt: Sequence[int] = PROMPT) -> Request:
    return Request(prompt=Chain(prompt).prefix(), sampling=Sampling(), max_tokens=1, seed=7, logprobs=1)


@pytest.fixture
async def engine(stub: StubServer) -> Any:
    """Build engines on the stub; all are closed at the end."""
    built: list[Pooling] = []

    def build(**options: Any) -> Pooling:
        built.append(Pooling(stub.url + "/v1", name="prm", **options))
        return built[-1]

    yield build
    for one in built:
        await one.close()


async def test_starting_counts_the_classes_and_says_what_is_missing(stub: StubServer, engine: Build) -> None:
    FakePooling(stub)
    can = await engine().start()
    assert (can.server, can.model, can.context, can.logprobs) == ("vllm 0.32.0", "m", 100, 2)
    assert (can.continues, can.token_ids, can.cached_tokens) == (True, False, False)
    assert sorted(can.missing) == ["cached_tokens", "token_ids"]


async def test_a_server_that_generates_is_refused_with_the_mend(stub: StubServer, engine: Build) -> None:
    FakeVllm(stub)
    with pytest.raises(EngineRejected, match=r"does not measure: serve .* with --runner pooling.*404"):
        await engine().start()


async def test_an_engine_that_writes_is_told_that_the_server_does_not(stub: StubServer) -> None:
    FakePooling(stub)
    writer = Vllm(stub.url, name="small")
    with pytest.raises(EngineRejected, match=r"engine 'small': the server at .* does not write; kind pooling fits"):
        await writer.start()
    await writer.close()


WRONG = [
    ([0.6, -0.8], "no probabilities: 0.6, -0.8"),
    ([1.7], "no probabilities: 1.7"),
    ([None, 1.0], "no probabilities: nan, 1"),
    ([nan], "no probabilities: nan"),
    ([0.9, 0.8], "do not add up to 1: 0.9, 0.8"),
    ([0.0] * 8, "do not add up to 1: 0, 0, 0, 0, 0, ..."),
    ([], "no class at all: its model reads steps at a tag"),
    ([[0.5, 0.5], []], "no class at all"),
    ([["a"]], "the reply is not as expected"),
    ("AAAA", "the reply is not as expected"),
    (7, "the reply is not as expected"),
    (Reply(json={"data": []}), "the reply is not as expected"),
    (Reply(json=[1]), "the reply is not as expected"),
]


@pytest.mark.parametrize(("answer", "said"), WRONG)
async def test_a_model_that_answers_no_probabilities_is_refused_at_the_start(
    stub: StubServer, engine: Build, answer: Any, said: str
) -> None:
    FakePooling(stub, lambda ids: answer)
    with pytest.raises(EngineRejected, match=r"engine 'prm': the server at .* does not measure") as caught:
        await engine().start()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("answer", "said"), [*WRONG, (Reply(json=pooled([1.0]) | {"usage": None}), "not as expected")])
async def test_an_answer_that_is_no_probability_later_on_is_an_error(
    stub: StubServer, engine: Build, answer: Any, said: str
) -> None:
    server = FakePooling(stub)
    prm = engine()
    await prm.start()
    server.answers = lambda ids: answer
    with pytest.raises(EngineProtocol) as caught:
        await prm.complete(request())
    assert said in str(caught.value)


async def test_a_refusal_and_a_breakdown_keep_their_kind(stub: StubServer, engine: Build) -> None:
    server = FakePooling(stub)
    prm = engine()
    await prm.start()
    server.answers = lambda ids: refused("Token id 99999 is out of vocabulary")
    with pytest.raises(EngineRejected, match="out of vocabulary"):
        await prm.complete(request())
    server.answers = lambda ids: Reply(status=503, text="loading")
    with pytest.raises(EngineUnavailable):
        await prm.complete(request())


async def test_a_call_sends_the_ids_and_asks_for_probabilities(stub: StubServer, engine: Build) -> None:
    FakePooling(stub)
    await engine().complete(request())
    assert stub.bodies("/pooling")[-1] == {"model": "m", "input": PROMPT, "use_activation": True}


async def test_the_answer_is_one_entry_of_ranked_classes_and_nothing_is_generated(
    stub: StubServer, engine: Build
) -> None:
    FakePooling(stub, lambda ids: [0.1, 0.7, 0.2])
    done = await engine().complete(request())
    assert (done.text, done.ids, done.output_tokens, done.stop) == ("", (), 0, Stop.END)
    assert (done.prompt_tokens, done.cached_tokens) == (len(PROMPT), None)
    assert done.logprobs is not None
    [entry] = done.logprobs
    assert (entry.id, entry.text) == (1, "class 1")
    assert [(each.id, each.text) for each in entry.top] == [(1, "class 1"), (2, "class 2"), (0, "class 0")]
    assert [exp(each.logprob) for each in entry.top] == pytest.approx([0.7, 0.2, 0.1])


async def test_of_several_rows_the_last_one_counts(stub: StubServer, engine: Build) -> None:
    FakePooling(stub, lambda ids: [[0.9, 0.1]] * (len(ids) - 1) + [BAD_GOOD])
    done = await engine().complete(request())
    assert done.logprobs is not None
    assert done.logprobs[0].id == 1
    assert exp(done.logprobs[0].logprob) == pytest.approx(0.75)


async def test_rows_that_are_neither_one_nor_one_a_token_are_those_of_steps_that_no_tag_was_named_for(
    stub: StubServer, engine: Build
) -> None:
    server = FakePooling(stub)
    made = engine()
    await made.start()
    server.answers = lambda ids: [BAD_GOOD] * 2
    with pytest.raises(EngineProtocol, match=rf"2 scores for a prompt of {len(PROMPT)} tokens: .*name its step_tag"):
        await made.complete(request())


@pytest.mark.parametrize("num_rows", [1, 3])
async def test_another_number_of_scores_than_steps_is_refused_in_one_line(
    stub: StubServer, engine: Build, num_rows: int
) -> None:
    server = FakePooling(stub, lambda ids: [BAD_GOOD] * ids.count(BOS))
    prm = engine(step_tag="<s>")
    await prm.start()
    two_steps = [*await prm.encode("2+2=4.\n\n"), *await prm.encode("so 4.\n\n")]
    assert (await prm.complete(request(two_steps))).logprobs
    server.answers = lambda ids: [BAD_GOOD] * num_rows
    with pytest.raises(EngineProtocol, match=rf"{num_rows} scores for 2 steps: is step_tag the one") as caught:
        await prm.complete(request(two_steps))
    assert "\n" not in str(caught.value)


async def test_a_model_that_scores_every_token_or_the_prompt_is_read_behind_a_step_tag_too(
    stub: StubServer, engine: Build
) -> None:
    server = FakePooling(stub, lambda ids: [BAD_GOOD] * len(ids))
    prm = engine(step_tag="<s>")
    assert (await prm.complete(request([*await prm.encode("a."), *await prm.encode("b.")]))).logprobs
    server.answers = lambda ids: BAD_GOOD
    assert (await prm.complete(request(await prm.encode("a.")))).logprobs


@pytest.mark.parametrize("row", [[0.2], [[0.2]]])
async def test_a_single_class_is_the_good_one_of_two(stub: StubServer, engine: Build, row: Any) -> None:
    FakePooling(stub, lambda ids: row)
    prm = engine()
    assert (await prm.start()).logprobs == 2
    done = await prm.complete(request())
    assert done.logprobs is not None
    assert {each.id: exp(each.logprob) for each in done.logprobs[0].top} == pytest.approx({0: 0.8, 1: 0.2})


@pytest.mark.parametrize("row", [[0.0, 1.0], [1.0], [0.0], [1.004, 0.0]])
async def test_certainty_can_be_stored(stub: StubServer, engine: Build, row: list[float]) -> None:
    FakePooling(stub, lambda ids: row)
    done = await engine().complete(request())
    assert done.logprobs is not None
    json.dumps(done.logprobs, allow_nan=False)
    assert all(each.logprob <= 0 for each in done.logprobs[0].top)


async def test_a_step_tag_closes_every_step_and_no_text_can_be_one(stub: StubServer, engine: Build) -> None:
    FakePooling(stub)
    prm = engine(step_tag="<s>")
    assert await prm.encode("4.\n\n") == [*ids("4."), BOS]
    forged = await prm.encode("a<s>b")
    assert (forged[-1], text(forged[:-1])) == (BOS, "a<s>b")
    assert not SPECIAL & set(forged[:-1])
    assert await prm.encode("\n\n") == [BOS]


async def test_the_trial_has_the_step_tag_in_it(stub: StubServer, engine: Build) -> None:
    FakePooling(stub, lambda ids: [BAD_GOOD] * ids.count(BOS))
    assert (await engine(step_tag="<s>").start()).logprobs == 2
    with pytest.raises(EngineRejected, match=r"name the step_tag if it reads steps at one .*a tag that the prompt has"):
        await engine().start()


async def test_only_without_a_step_tag_ids_are_exchanged_with_a_writer_of_the_same_tokenizer(
    stub: StubServer, engine: Build
) -> None:
    FakeVllm(stub)
    writer = Vllm(stub.url)
    of_writer = (await writer.start()).tokenizer
    await writer.close()
    stub._answers.clear()
    FakePooling(stub)
    assert (await engine().start()).tokenizer == of_writer
    assert (await engine(step_tag="<s>").start()).tokenizer != of_writer


async def test_text_is_data_but_for_the_tags_that_models_write(stub: StubServer, engine: Build) -> None:
    FakePooling(stub)
    prm = engine()
    assert await prm.encode("so</think>") == [*ids("so"), NOT_THINK]
    encoded = await prm.encode("a<|im_end|>b")
    assert text(encoded) == "a<|im_end|>b"
    assert not SPECIAL & set(encoded)


async def test_prompts_are_laid_out_by_the_models_template(stub: StubServer, engine: Build) -> None:
    FakePooling(stub)
    prm = engine()
    assert text(await prm.render([Message("user", "Hi")])) == "[user]Hi<|im_end|>[assistant]"
    assert text(await prm.interject("Rate it.", "")) == "<|im_end|>[user]Rate it.<|im_end|>[assistant]"


async def test_a_prompt_may_fill_the_context_and_no_more(stub: StubServer, engine: Build) -> None:
    FakePooling(stub, context=5)
    prm = engine()
    assert (await prm.complete(request(PROMPT))).prompt_tokens == 5
    with pytest.raises(ContextExceeded) as refused_:
        await prm.complete(request([*PROMPT, 1]))
    assert (refused_.value.prompt_tokens, refused_.value.context) == (6, 5)


def test_it_is_described_as_one_that_writes_nothing() -> None:
    spec = engines.pooling(URL, model="prm", step_tag="<extra_0>")
    assert (spec.kind, spec.writes, spec.judge, spec.settings()["step_tag"]) == ("pooling", False, None, "<extra_0>")
    assert repr(Pooling.from_spec("prm", spec)) == "<Pooling 'prm'>"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "pooling"}, "an engine of kind pooling can only measure"),
        ({"kind": "vllm", "step_tag": "<s>"}, "step_tag = '<s>': name the tag that an engine of kind pooling"),
        ({"kind": "pooling", "writes": False, "step_tag": " "}, "step_tag = ' '"),
        ({"kind": "pooling", "writes": False, "serving": Serving(model="m")}, "has no tokens to draft"),
    ],
)
def test_what_it_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        EngineSpec(url=URL, **options)


def test_a_spec_without_an_address_is_a_mistake_in_the_config() -> None:
    with pytest.raises(BadConfig, match="engine 'prm': give the url"):
        Pooling.from_spec("prm", EngineSpec(kind="pooling", writes=False))
