"""The pocket pair on two real servers that speculate, started as a user starts them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pair import Pair, kept, runs, served

import orchestrator as orc
from orchestrator.bench.workloads.errands import errands
from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.engines.base import Completion, Drafting, Prefix, Request
from orchestrator.engines.dialects.vllm import Vllm
from orchestrator.engines.scorers.judge import Judge
from orchestrator.engines.step_stream import StepStream
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.attempts import attempts
from orchestrator.types import Message, Sampling, Step, Stop

pytestmark = pytest.mark.vllm

ROUTERS = {
    "small": "small",
    "large": "large",
    "specreason, greedy": orc.routers.SpecReason(threshold=7),
    "specreason, average": orc.routers.SpecReason(threshold=7, reading="average"),
}
BLOCK = 128
"""Tokens of a block of the prefix cache on a CPU."""
LONG = 2000
ASKED = " ".join(each.prompt for each in islice(calculations("mid", "report", 0), 45))
"""About half of it, so that no test has to write all of it."""


def drafting(found: Sequence[StoredRun], engine: str) -> Drafting:
    """Return what an engine drafted in calls that write."""
    counts = [each.drafting for run in found for each in attempts(run) if each.writer == engine]
    assert counts and None not in counts, "the server reports of every call what it drafted"
    return Drafting(*map(sum, zip(*counts, strict=True)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ROUTERS)
def test_every_policy_keeps_the_same_steps_as_on_the_embedded_engine(pair: Pair, name: str) -> None:
    ours = runs(orc.engines.pocket_pair(temperature=0.0), ROUTERS[name])
    theirs = runs(served(pair), ROUTERS[name])
    assert all("boxed" in "".join(text for _, text in kept(run)) for run in ours)
    assert [kept(run) for run in theirs] == [kept(run) for run in ours]


@pytest.mark.parametrize("mode", ["no_think", "think"])
def test_an_agent_does_the_same_as_on_the_embedded_engine(pair: Pair, mode: str) -> None:
    def done(engines: dict[str, Any]) -> list[list[tuple[str, str, str]]]:
        router, monitors = orc.routers.Cascade(turns=2), [orc.monitors.Every(moves=2)]
        with orc.Pipeline(
            engines,
            router,
            monitors=monitors,
            tools=workload.tools,
            mode=mode,
            db=":memory:",
            budget=orc.Budget(steps=16),
        ) as pipeline:
            results = [pipeline.run(task) for task in tasks]
        return [[(step.kind, step.writer, step.text) for step in result.steps] for result in results]

    workload = errands()
    tasks = workload.draw("report", 0, 4)
    ours, theirs = done(orc.engines.pocket_pair(temperature=0.0)), done(served(pair))
    assert {kind for steps in ours for kind, _, _ in steps} >= {"action", "observation"}
    assert {writer for steps in ours for _, writer, _ in steps} >= {"small", "large", "lookup"}
    assert theirs == ours


async def test_both_engines_have_one_tokenizer(pair: Pair) -> None:
    engines = {"small": orc.engines.pocket_pair()["small"], "large": served(pair)["large"]}
    async with orc.Pipeline(engines, db=":memory:") as pipeline:
        found = await pipeline.start()
    assert found["small"].tokenizer == found["large"].tokenizer


def test_the_small_one_drafts_for_the_large_one(pair: Pair) -> None:
    found = drafting(runs(served(pair), "large"), "large")
    assert found.drafted <= 5 * found.drafts
    assert found.accepted / found.drafts >= 1.0


def test_what_was_said_before_is_drafted_when_it_is_said_again(pair: Pair) -> None:
    runs(served(pair), "small")
    found = drafting(runs(served(pair), "small"), "small")
    assert found.drafted <= 5 * found.drafts
    assert found.accepted / found.drafts >= 2.0


def test_the_readme_s_commands_run_on_these_servers(pair: Pair) -> None:
    def orchestrator(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("orchestrator")), *arguments, "--config", str(pair.config)]
        return subprocess.run(command, env=pair.environ, capture_output=True, text=True, check=True).stdout

    assert orchestrator("run", "Compute 38*4 - 98*6.") == "-436\n"
    shown = orchestrator("trace", "show", "last")
    assert re.search(
        r"\n       \d\.\d\d accepted per draft \(\d+ of \d+ tokens\), first token \d+ ms, queued \d+ ms\n", shown
    )
    assert re.search(r"\nlarge: \d\.\d\d accepted per draft", shown)
    assert orchestrator("engines", "list").count("answers as vllm, served by ") == 2
    assert "warn" not in orchestrator("engines", "doctor")


class Call(NamedTuple):
    """A call of an engine, as its server answered it."""

    prompt: list[int]
    ids: list[int]
    cached: int

    def whole_blocks(self, before: Sequence[Call]) -> int:
        """Return the tokens of whole blocks that an earlier call has put into the cache."""
        shared = max(_shared(each.prompt + each.ids, self.prompt) for each in before)
        return min(shared, len(self.prompt) - 1) // BLOCK * BLOCK  # one token has to be computed


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))


class Recorded(Vllm):
    """An engine that remembers its calls."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name=name)
        self.calls: list[Call] = []

    async def complete(self, request: Request) -> Completion:
        completion = await super().complete(request)
        assert request.prompt is not None and completion.cached_tokens is not None
        self.calls.append(Call(request.prompt.ids(), list(completion.ids), completion.cached_tokens))
        return completion


@pytest.fixture
async def recorded(pair: Pair) -> AsyncIterator[tuple[Recorded, Recorded]]:
    both = Recorded(pair.small, "small"), Recorded(pair.large, "large")
    yield both
    for engine in both:
        await engine.close()


async def test_of_a_long_run_s_shared_prefix_whole_blocks_are_read_from_the_cache(
    recorded: tuple[Recorded, Recorded],
) -> None:
    small, large = recorded
    tokenizers = {each.name: (await each.start()).tokenizer for each in recorded}
    stream = StepStream({each.name: each for each in recorded}, tokenizers, [Message("user", ASKED)])

    async def call(engine: str, purpose: str, prompt: Prefix, **asked: Any) -> Completion:
        asked = {"stop": ("\n\n",), **asked} if purpose == "write" else asked
        writer = small if engine == "small" else large
        return await writer.complete(Request(prompt=prompt, seed=1, **asked))

    judge = Judge(reading="average", prompt=orc.engines.pocket_pair()["large"].judge)
    length = 0
    while length < LONG:
        index = len(stream.steps)
        for attempt, writer in enumerate(["small", "large"][: 1 + index % 2]):  # every other draft is rewritten
            said = await call(
                writer, "write", await stream.prefix(writer), max_tokens=24, sampling=Sampling(temperature=0)
            )
            ids = list(said.ids) or await small.encode("Wait.\n\n")
            text = said.text if said.ids else "Wait.\n\n"
            step = Step(
                index=index, attempt=attempt, writer=writer, text=text, ids=ids, num_tokens=len(ids), stop=Stop.LENGTH
            )
            if writer == "small":
                await judge.score("large", stream, step, call)
        stream.keep(step)
        length = len(await stream.prefix("small"))
    for engine in recorded:
        assert len(engine.calls) > 20
        whole = [each.whole_blocks(engine.calls[:place]) for place, each in enumerate(engine.calls) if place]
        cached = [min(each.cached, most) for each, most in zip(engine.calls[1:], whole, strict=True)]
        assert sum(cached) / sum(whole) >= 0.95, engine.name
