"""A reward model behind a pooling server rates in the place of the large engine, in every way that leads there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fake_pooling import FakePooling
from fake_vllm import text
from stub_server import Reply, StubServer

import orchestrator as orc
from orchestrator.bench.policies import policies_of
from orchestrator.bench.scoring import exact
from orchestrator.bench.workloads.base import Workload
from orchestrator.engines.base import Request
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import BadConfig

ANSWER = "\\boxed{7}"
STEPS = ["good one\n\n", "bad one\n\n", ANSWER]
UNCHECKED = Workload(name="words", settings={}, draw=lambda split, seed, count: [], score=exact)
ROUTER = orc.routers.SpecReason(reading="prm", threshold=5)


def likes(ids: Sequence[int]) -> list[float]:
    """Rate low what ends in a bad step."""
    bad = text(ids).rstrip().endswith("bad one")
    return [0.8, 0.2] if bad else [0.1, 0.9]


@pytest.fixture
async def stub() -> AsyncIterator[StubServer]:
    async with StubServer() as server:
        yield server


def pipeline(url: str, router: Any = ROUTER, **options: Any) -> orc.Pipeline:
    engines = {
        "small": Scripted(STEPS),
        "prm": orc.engines.pooling(url),
        "large": Scripted(["better\n\n"]),
    }
    return orc.Pipeline(engines, router, **{"db": ":memory:", **options})


async def test_it_decides_who_writes_each_step(stub: StubServer) -> None:
    FakePooling(stub, likes, context=1000)
    async with pipeline(stub.url) as made:
        result = await made.arun("?")
        stored = made.journal.run(result.run_id)
    assert [step.writer for step in result.steps] == ["small", "large", "small"]
    assert [signal.value for signal in stored.signals] == pytest.approx([0.9, 0.2, 0.9])
    spent = result.ledger.total(engine="prm", purpose="judge")
    assert (spent.calls, spent.output_tokens) == (3, 0)
    assert spent.prompt_tokens == sum(len(body["input"]) for body in stub.bodies("/pooling")[1:])


async def test_a_comparison_lets_it_rate_for_any_judged_policy(stub: StubServer) -> None:
    FakePooling(stub, likes, context=1000)
    *_, policy = policies_of(["specreason:judge=prm:threshold=5"], UNCHECKED)
    async with pipeline(stub.url) as made:
        rated = made.but(
            router=policy.router, scorers=policy.scorers(UNCHECKED, made.specs), seed=0, stop_on_answer=False
        )
        result = await rated.arun("?")
    assert [step.writer for step in result.steps] == ["small", "large", "small"]
    assert not result.ledger.total(engine="large", purpose="judge").calls


class Death(BaseException):
    """Stands for the end of a process: nothing of ours handles it."""


def dies(request: Request) -> str:
    raise Death


async def test_what_it_said_before_the_process_died_is_not_asked_again(stub: StubServer, tmp_path: Path) -> None:
    FakePooling(stub, likes, context=1000)
    asked = []
    for small, large in ((STEPS[:2], dies), (STEPS[2:], ["better\n\n"])):
        engines = {"small": Scripted(small), "prm": orc.engines.pooling(stub.url), "large": Scripted(large)}
        async with orc.Pipeline(engines, ROUTER, db=tmp_path / "journal.db") as made:
            await made.start()
            stub.seen.clear()
            with suppress(Death):
                result = await made.arun("?", run_id="it")
        asked.append(len(stub.bodies("/pooling")))
    assert asked == [2, 1]
    assert [step.text for step in result.steps] == [STEPS[0], "better\n\n", ANSWER]
    assert result.ledger.total(engine="prm").calls == 3


async def test_a_server_that_breaks_down_leaves_the_step_without_a_rating(stub: StubServer) -> None:
    server = FakePooling(stub, context=1000)
    async with pipeline(stub.url, retries=RetryPolicy(attempts=1)) as made:
        await made.start()
        server.answers = lambda ids: Reply(json={"data": [{"data": [None, None]}], "usage": {"prompt_tokens": 1}})
        result = await made.arun("?")
        [first, *_] = made.journal.run(result.run_id).signals
    assert first.value is None
    assert "no probabilities: nan, nan" in first.reason
    assert result.steps[0].writer == "large"


async def test_no_engine_of_the_kind_can_be_made_a_writer(stub: StubServer) -> None:
    with pytest.raises(BadConfig, match="kind pooling can only measure"):
        orc.engines.spec("pooling", url=stub.url)
    async with pipeline(stub.url, orc.routers.Random(large_share=0.5)) as made:
        assert made.writers == ("small", "large")
