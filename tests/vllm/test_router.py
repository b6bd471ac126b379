"""The published router, whole: collected, exported, trained for fifty updates, served by vLLM, and routed with."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from statistics import median
from typing import Any

import pytest

import orchestrator as orc
from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.engines.base import Completion, Prefix, Request
from orchestrator.engines.scorers.annotated import pieces_of
from orchestrator.engines.scorers.escalation import Escalation
from orchestrator.engines.step_stream import StepStream
from orchestrator.routers.arbitrage import Arbitrage
from orchestrator.types import Message, Sampling, Step, Stop

pytestmark = pytest.mark.vllm

TASKS = [each.prompt for each in islice(calculations("mid", "report", 0), 6)]
QUESTION = "Evaluate: 3 + 7 * 3 - 6 / 6 - 9."
KEPT = (("small", "3+7*3-6/6-9\n\n"), ("large", "7*3=21\n3+21-6/6-9\n\n"))
DRAFTS = ("6/6=1\n3+21-1-9\n\n", "6/6=8\n3+21-8-9\n\n", "3+21=24\n24-6/6-9\n\n", "</think>\n\\boxed{14}", "<|end|>")


def engines(url: str) -> dict[str, Any]:
    return {"router": orc.engines.pooling(url, measures="escalation"), **orc.engines.pocket_pair(temperature=0.0)}


def test_fifty_updates_lower_the_loss(trained: Any) -> None:
    losses = [line["loss"] for line in trained.log if "loss" in line]
    assert len(losses) == 50
    assert sum(losses[-10:]) < sum(losses[:10])


async def test_the_served_probability_is_that_of_the_folder(trained: Any, in_vllm: Callable[[str, Any], Any]) -> None:
    spec = engines(trained.url)["router"]
    engine = orc.engines.find(spec.kind).from_spec("router", spec)
    stream = StepStream({"router": engine}, {"router": "a", "small": "b", "large": "b"}, [Message("user", QUESTION)])
    for index, (writer, text) in enumerate(KEPT):
        stream.keep(step(index, writer, text))

    async def call(
        name: str, purpose: str, prompt: Prefix, *, sampling: Sampling, max_tokens: int, logprobs: int = 0
    ) -> Completion:
        return await engine.complete(Request(prompt=prompt, sampling=sampling, max_tokens=max_tokens, seed=0))

    served = []
    for number, text in enumerate(DRAFTS):
        draft = step(len(KEPT), "small", text, attempt=number)
        served.append((await Escalation(engine="router").score("router", stream, draft, call)).value)
    await engine.close()
    texts = [pieces_of(QUESTION, KEPT, ("small", text)) for text in DRAFTS]
    read = in_vllm("read_router.py", {"folder": str(trained.folder), "texts": texts})
    assert served == pytest.approx(read, abs=0.01)
    assert max(read) - min(read) > 0.05  # they would agree on a constant, too


def step(index: int, writer: str, text: str, *, attempt: int = 0) -> Step:
    return Step(index=index, attempt=attempt, writer=writer, text=text, num_tokens=1, stop=Stop.DELIMITER)


def test_the_large_engine_writes_only_where_the_chance_is_above_the_threshold(trained: Any) -> None:
    file = str(trained.folder / "router.json")
    with orc.Pipeline(engines(trained.url), "small", db=":memory:") as pipeline:

        def routed(threshold: float) -> list[tuple[float, str, int]]:
            """Return for each step its chance less the threshold, its writer and the large engine's calls."""
            router = Arbitrage(file=file, threshold=threshold)
            made = pipeline.but(router=router, scorers={}, seed=0, stop_on_answer=True)
            found = []
            for task in TASKS:
                result = made.run(task)
                stored = made.journal.run(result.run_id)
                large = [call.intent.step for call in stored.calls if call.intent.engine == "large"]
                margins = {row.step: row.margin for row in stored.decisions if row.door == "after_draft"}
                for each in result.steps:
                    margin = margins[each.index]
                    assert margin is not None
                    found.append((margin, each.writer, large.count(each.index)))
            return found

        high = 0.999999  # at 1 the router keeps every draft without asking
        drafted = routed(high)
        assert {writer for _, writer, _ in drafted} == {"small"}
        mixed = routed(high + median(margin for margin, _, _ in drafted))
    assert {writer for _, writer, _ in mixed} == {"small", "large"}
    for margin, writer, calls in mixed:
        assert (writer, calls) == (("large", 1) if margin > 0 else ("small", 0))
