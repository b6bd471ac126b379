"""Completions side by side: as many as asked, all of them counted, and an error ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, repeat

import pytest
from started import Fake

from orchestrator.engines.base import Chain, Completion, Drafting, Prefix, Request
from orchestrator.engines.measuring import Load, measure, trial
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.engines.speculation.planning import Variant
from orchestrator.engines.speculation.profiles import NGram
from orchestrator.errors import EngineError, EngineProtocol, EngineUnavailable, UserError
from orchestrator.types import Message

LOAD = Load(prompts=[(Message("user", "?"),)], batches=[1, 2], repeats=1, seconds=0.2, max_tokens=10)
ANSWER = Reply(text="x" * 20, latency_s=0.02)


class Drafter(Scripted):
    """Says what it drafted, and knows how many calls it had at once."""

    running = most = 0

    async def complete(self, request: Request) -> Completion:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            done = await super().complete(request)
        finally:
            self.running -= 1
        return done._replace(drafting=Drafting(3, 6, 4), queue_s=done.seconds / 2)


def prompts(*texts: str) -> Iterator[Prefix]:
    return cycle(Chain(list(text.encode())).prefix() for text in texts)


@pytest.mark.parametrize("batch", [1, 7])
async def test_exactly_so_many_completions_run_side_by_side_and_all_are_counted(batch: int) -> None:
    engine = Drafter(lambda _: ANSWER)
    found = await trial(engine, 5, batch, prompts("a", "b"), LOAD)
    assert (engine.most, engine.running) == (batch, 0)
    assert (found.tokens, found.batch) == (5, batch)
    assert found.completions == len(engine.requests) >= batch
    assert found.output_tokens == 10 * found.completions
    assert found.drafting == Drafting(3 * found.completions, 6 * found.completions, 4 * found.completions)
    assert found.waited == pytest.approx(0.5)
    assert 0 < found.goodput <= 10 * batch / 0.02 * 1.5  # ten tokens a call, and a call is half of one at its ends


async def test_a_row_goes_on_with_the_next_prompt_and_nothing_is_left_to_chance() -> None:
    engine = Drafter(lambda _: ANSWER)
    await trial(engine, 5, 2, prompts("a", "b", "c"), LOAD)
    sent = [bytes(request.prompt.ids()).decode() for request in engine.requests if request.prompt]
    assert len(sent) > 3
    assert sent == [letter for letter, _ in zip(cycle("abc"), sent, strict=False)]
    assert {request.sampling.temperature for request in engine.requests} == {0.0}


async def test_without_speculation_nothing_was_drafted() -> None:
    found = await trial(Scripted(lambda _: ANSWER), None, 2, prompts("a"), LOAD)
    assert found.drafting == Drafting(0, 0, 0)


async def test_a_speculating_server_that_does_not_say_what_it_drafted_is_an_error() -> None:
    with pytest.raises(EngineProtocol, match="does not say what it drafted"):
        await trial(Scripted(lambda _: ANSWER), 2, 1, prompts("a"), LOAD)


@pytest.mark.parametrize("good", [0, 5])
async def test_the_first_error_ends_all_rows_at_once(good: int) -> None:
    script = iter([*repeat(ANSWER, good), EngineUnavailable("it went away", engine="large")])
    engine = Drafter(lambda _: next(script, Reply(text="x", latency_s=60)))
    async with asyncio.timeout(10):
        with pytest.raises(EngineUnavailable, match="it went away"):
            await trial(engine, 5, 3, prompts("a"), replace(LOAD, seconds=60))
    assert engine.running == 0


@pytest.mark.parametrize(
    "change",
    [{"batches": [4]}, {"batches": [0, 4]}, {"batches": [2, 2]}, {"repeats": 0}, {"seconds": 0.0}, {"max_tokens": 1}],
)
def test_what_measures_nothing_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(UserError):
        replace(LOAD, **change)


async def test_a_server_that_does_not_start_says_its_last_words_and_leaves_nothing(fake: Fake) -> None:
    told: list[str] = []
    with pytest.raises(EngineUnavailable, match="ended with status 3"):
        await measure(
            "small", fake.spec(dies="no GPU in sight"), [Variant(None, None)], LOAD, fake.folder / "e", told.append
        )
    assert told[0] == "small: no speculation, server 1 of 1"
    assert told[-1].endswith("no GPU in sight")


async def test_a_server_that_cannot_complete_is_ended(fake: Fake) -> None:
    """The fake server knows /version and nothing else."""
    told: list[str] = []
    with pytest.raises(EngineError):
        await measure("small", fake.spec(), [Variant(2, NGram())], LOAD, fake.folder / "e", told.append)
    assert told[-1] == "small: ended"
    assert not fake.answers()
