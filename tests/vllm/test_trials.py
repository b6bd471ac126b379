"""What the trials say of a real server, held against calls of another kind.

Later builds may do better: it is not asserted what the server can do, but that the trials know it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pair import TASKS, Pair

import orchestrator as orc
from orchestrator.engines.base import Capabilities, Chain, Completion, Request
from orchestrator.engines.dialects.vllm import Vllm
from orchestrator.engines.http import Transport
from orchestrator.errors import MissingCapability
from orchestrator.types import History, Message, Sampling

pytestmark = pytest.mark.vllm

TASK = (Message("user", "Compute 38*4 - 98*6."),)


@pytest.fixture
async def pocket(pair: Pair) -> AsyncIterator[Vllm]:
    engine = Vllm(pair.large, name="large")
    yield engine
    await engine.close()


async def write(engine: Vllm, temperature: float, seed: int) -> Completion:
    prompt = Chain(await engine.render(TASK)).prefix()
    sampling = Sampling(temperature=temperature, top_p=1.0)
    return await engine.complete(Request(prompt=prompt, sampling=sampling, max_tokens=60, seed=seed, logprobs=1))


async def test_sampling_is_found_as_it_is(pocket: Vllm) -> None:
    """At temperature 0.01 each token is the likeliest one, but for near ties, or the server samples wrongly."""
    texts = [await write(pocket, 0.01, seed) for seed in range(4)]
    tokens = [token for text in texts for token in text.logprobs or ()]
    worst = max(token.top[0].logprob - token.logprob for token in tokens)
    assert (await pocket.start()).samples == (worst < 0.5)


async def test_a_pipeline_samples_only_where_that_is_sound(pocket: Vllm, pair: Pair) -> None:
    is_sound = (await pocket.start()).samples
    async with orc.Pipeline({"large": orc.engines.vllm(pair.large, temperature=0.6)}, "large", db=":memory:") as warm:
        if is_sound:
            assert (await warm.start())["large"].samples
        else:
            with pytest.raises(MissingCapability, match="temperature 0"):
                await warm.arun("Compute 12 + 7 - 4.")
    async with orc.Pipeline({"large": orc.engines.vllm(pair.large, temperature=0.0)}, "large", db=":memory:") as greedy:
        assert (await greedy.arun("Compute 12 + 7 - 4.")).answer is not None


async def test_a_thinking_budget_is_found_as_it_is(pocket: Vllm, pair: Pair) -> None:
    prompt = await pocket.render(TASK)
    line = Transport("large", pair.large.removesuffix("/v1"), timeout_s=60)
    body = {"model": "pocket-large", "prompt": prompt, "max_tokens": 60, "temperature": 0, "skip_special_tokens": False}
    free, cut = [
        (await line.post("/v1/completions", body | options))["choices"][0]["text"].partition("</think>")[0]
        for options in ({}, {"thinking_token_budget": 8})
    ]
    await line.close()
    assert free.startswith("38*4-98*6\n\n")
    assert (await pocket.start()).thinking_budget == (len(cut) < len(free))


async def test_a_budget_is_of_what_is_thought_from_there_on(pocket: Vllm) -> None:
    """Unless the server keeps to none, which the trial knows."""
    can, start = await pocket.start(), await pocket.render(TASK, think=True)
    assert (can.think_switch, "tool_role" in can.missing) == ("template", False)

    async def think(thought: Sequence[int], budget: int | None) -> Completion:
        asked = Request(
            prompt=Chain([*start, *thought]).prefix(),
            sampling=Sampling(temperature=0, top_p=1.0),
            max_tokens=50,
            seed=0,
            stop=("</think>",),
            think_budget=budget,
        )
        return await pocket.complete(asked)

    free = (await think((), None)).ids
    assert len(free) > 20
    for num_thought, budget in ((0, 8), (8, 8), (8, 1), (12, 3)):
        done = await think(free[:num_thought], budget)
        if can.thinking_budget:
            assert done.stop_text == "</think>"
            assert done.ids == [*free[num_thought : num_thought + budget], *can.think_tags[1]]


class Told(Vllm):
    """Notes the thinking budgets that its server is told; none where it `keeps` to none, as one without a parser."""

    def __init__(self, url: str, *, keeps: bool) -> None:
        super().__init__(url, is_sampled=False)
        self.keeps = keeps
        self.budgets: list[int | None] = []

    async def start(self) -> Capabilities:
        can = await super().start()
        return replace(can, thinking_budget=can.thinking_budget and self.keeps)

    async def complete(self, request: Request) -> Completion:
        self.budgets.append(request.think_budget)
        return await super().complete(request)


class Thought:
    """A monitor that only looks how much was thought."""

    tokens = 0

    def watch(self, history: History) -> None:
        self.tokens = history.thought_tokens


@asynccontextmanager
async def thinking(pair: Pair, engine: Told) -> AsyncIterator[Callable[[str, int], Awaitable[tuple[str, int]]]]:
    """Let the engine think about a task within a budget; give what it thought, and how many tokens that were."""
    spec = orc.engines.vllm(pair.large, temperature=0.0, think=True)
    async with orc.Pipeline({"large": spec}, "large", db=":memory:") as pipeline:
        pipeline.engines["large"] = engine

        async def think(task: str, budget: int) -> tuple[str, int]:
            watching = Thought()
            held = pipeline.but(router="large", mode=f"think({budget})", monitors=[watching])
            return (await held.arun(task)).text.partition("</think>")[0], watching.tokens

        yield think


async def test_a_thought_is_cut_at_the_same_token_whether_the_server_does_it_or_we_do(pair: Pair) -> None:
    served, ignored = Told(pair.large, keeps=True), Told(pair.large, keeps=False)
    async with thinking(pair, served) as by_server, thinking(pair, ignored) as by_us:
        if not (await served.start()).thinking_budget:
            pytest.skip("this server keeps to no thinking budget: every cut is ours")
        whole, length = await by_us(TASKS[0], 2000)
        for budget in (1, 7, length // 2, length - 1, length, length + 9):
            cut = await by_us(TASKS[0], budget)
            assert cut == await by_server(TASKS[0], budget), budget
            assert cut[1] == min(budget, length)
            assert whole.startswith(cut[0])
    assert set(ignored.budgets) == {None}
    assert None not in served.budgets


async def test_a_reasoning_parser_takes_no_rating_away(pocket: Vllm) -> None:
    step = await pocket.encode("38*4-98*6\n\n")
    words = orc.engines.pocket_pair()["large"].judge
    asked = await pocket.interject(words.question, words.prefill, think=words.think)
    prompt = Chain([*await pocket.render(TASK), *step, *asked]).prefix()
    rated = await pocket.complete(Request(prompt=prompt, sampling=Sampling(temperature=0), max_tokens=1, seed=0))
    assert rated.text in "0123456789"
    assert rated.output_tokens == len(rated.text) == 1
