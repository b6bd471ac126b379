"""What a vLLM server fails at in silence is found before the first run, and what works is not accused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_vllm import FakeVllm, refused
from stub_server import Reply, StubServer

from orchestrator.engines.base import Capabilities
from orchestrator.engines.dialects.vllm import Vllm
from orchestrator.engines.spec import EngineSpec
from orchestrator.errors import MissingCapability
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Sampling


async def found(stub: StubServer, *, is_sampled: bool = True, timeout_s: float = 60.0, **server: Any) -> Capabilities:
    FakeVllm(stub, **server)
    engine = Vllm(stub.url, is_sampled=is_sampled, timeout_s=timeout_s)
    try:
        return await engine.start()
    finally:
        await engine.close()


async def test_a_server_that_keeps_its_word_lacks_nothing(stub: StubServer) -> None:
    can = await found(stub)
    assert (can.metrics, can.speculates, can.thinking_budget, can.samples) == (True, True, True, True)
    assert can.missing == {}


@pytest.mark.parametrize(
    ("switch", "capability", "flag"),
    [
        ("reports_times", "metrics", "--enable-per-request-metrics"),
        ("speculates", "speculates", "--per-request-spec-decode-metrics"),
    ],
)
async def test_what_is_not_reported_is_missing_with_the_flag_to_set(
    stub: StubServer, switch: str, capability: str, flag: str
) -> None:
    can = await found(stub, **{switch: False})
    assert not getattr(can, capability)
    assert list(can.missing) == [capability]
    assert flag in can.missing[capability]


@pytest.mark.parametrize(
    ("thinking", "why"),
    [
        (None, "start it with --reasoning-parser or --reasoning-config"),
        (lambda budget: None, "thinks on past it; speculation is on"),
        (lambda budget: 1, "ends its thinking by itself"),
    ],
)
async def test_a_thinking_budget_that_does_not_end_the_thinking_is_none(
    stub: StubServer, thinking: Callable[[int], int | None] | None, why: str
) -> None:
    can = await found(stub, thinking=thinking)
    assert not can.thinking_budget
    assert why in can.missing["thinking_budget"]


async def test_a_phrase_before_the_forced_end_tag_is_no_failure(stub: StubServer) -> None:
    assert (await found(stub, thinking=lambda budget: budget + 12)).thinking_budget


async def test_a_model_that_would_end_its_text_early_is_kept_thinking_until_the_budget_ends_it(
    stub: StubServer,
) -> None:
    assert (await found(stub, ends_early=True)).missing == {}


@pytest.mark.parametrize(
    ("drafted", "why"),
    [((), "for 0 of 16 drafted tokens"), ((0.0, 0.0), "0.0 for 16 of 16 drafted tokens")],
)
async def test_logprobs_that_say_nothing_of_drafted_tokens_are_none(
    stub: StubServer, drafted: tuple[float, ...], why: str
) -> None:
    can = await found(stub, drafted=drafted)
    assert can.logprobs == 0
    assert why in can.missing["logprobs"]


async def test_one_drafted_token_without_true_logprobs_is_enough(stub: StubServer) -> None:
    can = await found(stub, zeros=1)
    assert can.logprobs == 0
    assert "0.0 for 1 of 16 drafted tokens" in can.missing["logprobs"]


async def test_a_model_that_is_sure_of_every_token_is_believed(stub: StubServer) -> None:
    assert (await found(stub, drafted=(0.0, -40.0))).logprobs == 20


@pytest.mark.parametrize(("logprobs", "is_found"), [((-0.1, -3.0), True), ((-0.9, -1.3), False)])
async def test_a_draw_is_broken_only_where_the_model_rules_it_out(
    stub: StubServer, logprobs: tuple[float, ...], is_found: bool
) -> None:
    """A near tie proves nothing."""
    can = await found(stub, draws_worst=True, drafted=logprobs)
    assert can.samples is not is_found
    assert ("speculation method" in can.missing.get("samples", "")) is is_found
    assert "sampling_trial" not in can.missing


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ({"most_logprobs": 0}, "gives no logprobs"),
        ({"drafted": ()}, "for 0 of 16 drafted tokens"),
        ({"drafted": (0.0, -350.0, -9999.0)}, "after its mask and the temperature: start it without --logprobs-mode"),
        ({"trials": refused("no allowed_token_ids here")}, "no allowed_token_ids here"),
    ],
)
async def test_sampling_that_could_not_be_tried_has_a_reason(
    stub: StubServer, server: dict[str, Any], why: str
) -> None:
    can = await found(stub, draws_worst=True, **server)
    assert why in can.missing["sampling_trial"]
    assert "samples" not in can.missing


async def test_a_server_that_is_never_sampled_needs_no_logprobs_for_it(stub: StubServer) -> None:
    can = await found(stub, is_sampled=False, most_logprobs=0)
    assert list(can.missing) == ["logprobs"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Reply(status=500, text="CUDA error"), "HTTP 500"),
        (Reply(delay_s=3, json={}), "no complete answer within 1 s"),
        (Reply(reset=True), "connection"),
        (Reply(json={}), "the reply is not as expected"),
    ],
)
async def test_a_trial_that_fails_is_made_once_and_stops_nothing(stub: StubServer, answer: Reply, why: str) -> None:
    can = await found(stub, trials=answer, timeout_s=1.0)
    assert (can.logprobs, can.samples, can.thinking_budget) == (20, True, False)
    assert list(can.missing) == ["sampling_trial", "thinking_budget"]
    assert all(why in each for each in can.missing.values()), can.missing
    assert sum(body["max_tokens"] > 1 for body in stub.bodies("/v1/completions")) == 2


async def test_where_nothing_is_sampled_a_failed_trial_was_one_of_the_logprobs(stub: StubServer) -> None:
    can = await found(stub, trials=Reply(status=500), is_sampled=False)
    assert list(can.missing) == ["logprobs_trial", "thinking_budget"]


@pytest.mark.parametrize(("context", "length"), [(4096, 2049), (1000, 999), (258, 257)])
async def test_an_equal_prompt_that_is_computed_anew_is_said(stub: StubServer, context: int, length: int) -> None:
    can = await found(stub, context=context, block=0)
    assert can.cached_tokens
    assert list(can.missing) == ["prefix_cache"]
    assert f"{length} tokens is computed anew: start it with --enable-prefix-caching" in can.missing["prefix_cache"]


@pytest.mark.parametrize(
    "server",
    [
        {"context": 4096},
        {"context": 4096, "block": 128},
        {"context": 4096, "block": 1312},
        {"context": 257, "block": 0},
        {"context": 4096, "block": 0, "reports_cache": False},
    ],
)
async def test_a_prefix_cache_that_hits_or_cannot_be_tried_is_not_accused(
    stub: StubServer, server: dict[str, Any]
) -> None:
    assert "prefix_cache" not in (await found(stub, **server)).missing


async def test_a_prefix_cache_that_works_costs_two_short_calls(stub: StubServer) -> None:
    await found(stub, context=4096)
    assert [len(body["prompt"]) for body in stub.bodies("/v1/completions") if len(body["prompt"]) > 100] == [257, 257]


def pipeline(stub: StubServer, temperature: float) -> Pipeline:
    spec = EngineSpec(kind="vllm", url=stub.url, sampling=Sampling(temperature=temperature))
    return Pipeline({"large": spec}, "large", db=":memory:")


async def test_a_run_that_would_sample_broken_text_is_refused_before_it_begins(stub: StubServer) -> None:
    FakeVllm(stub, draws_worst=True)
    async with pipeline(stub, 0.6) as sampled:
        with pytest.raises(MissingCapability, match=r"what its server samples is broken.*temperature 0"):
            await sampled.arun("2+2?")


async def test_a_greedy_run_on_such_a_server_samples_nothing_not_even_in_a_trial(stub: StubServer) -> None:
    FakeVllm(stub, draws_worst=True)
    async with pipeline(stub, 0.0) as greedy:
        can = (await greedy.start())["large"]
    assert can.samples
    assert {body["temperature"] for body in stub.bodies("/v1/completions")} == {0}
