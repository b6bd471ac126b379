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
from orchestrator.engines.speculation.planning import Variant, variants
from orchestrator.engines.speculation.profiles import NGram
from orchestrator.errors import BadConfig, EngineError, EngineProtocol, EngineUnavailable, UserError
from orchestrator.types import Message

LOAD = Load(prompts=[(Message("user", "?"),)], batches=[1, 2], repeats=2, seconds=0.2, max_tokens=10)
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


async def test_a_trial_that_is_shorter_than_a_step_goes_on_until_every_row_has_a_token() -> None:
    """Half of a reply's ten tokens arrive after 0.3 s, the others after another 0.3 s."""
    engine = Drafter(lambda _: Reply(text="x" * 20, latency_s=0.6))
    found = await trial(engine, 5, 2, prompts("a", "b"), replace(LOAD, seconds=0.05))
    assert found.goodput == pytest.approx(2 * 5 / 0.3, rel=0.3)


async def test_a_trial_in_which_no_token_comes_at_all_ends_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.engines.measuring.LATE_S", 0.1)
    engine = Drafter(lambda _: Reply(text="x" * 20, latency_s=2.0))
    with pytest.raises(UserError, match=r"no token came in 0\.1.* s: give more --seconds"):
        await trial(engine, 5, 2, prompts("a"), replace(LOAD, seconds=0.05))
    assert engine.running == 0


async def test_what_one_of_the_servers_would_not_start_with_is_said_before_the_first_is_started(fake: Fake) -> None:
    told: list[str] = []
    spec = fake.spec()
    assert spec.serving is not None
    serving = replace(spec.serving, args=["--data-parallel-size", "2"], speculation=None)
    with pytest.raises(BadConfig, match="engine 'small' cannot be measured with drafts of at most 2: args has --data-"):
        await measure(
            "small", replace(spec, serving=serving), variants(NGram(), (2,), 8), LOAD, fake.folder / "e", told.append
        )
    assert not told and not fake.starts()


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
    [{"batches": [4]}, {"batches": [0, 4]}, {"batches": [2, 2]}, {"repeats": 1}, {"seconds": 0.0}, {"max_tokens": 1}],
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
