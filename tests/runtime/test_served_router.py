"""`arbitrage` with a classifier behind a pooling server: who writes, who is called, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_pooling import FakePooling
from fake_vllm import text
from stub_server import StubServer

import orchestrator as orc
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import BadConfig, MissingCapability, UserError
from orchestrator.learning.served import served
from orchestrator.routers.arbitrage import Arbitrage
from orchestrator.routers.forecast import Forecast, Served
from orchestrator.routers.hybrid import Hybrid
from orchestrator.routers.rsd import RSD
from orchestrator.runtime.calibration import Calibration, options_of

STEPS = ["good one\n\n", "bad one\n\n", "\\boxed{7}"]
FIRST = {"history": True, "scorer": "prm", "samples": 1, "package": "0.1.0"}


def escalates(ids: Sequence[int]) -> list[float]:
    """Say that the large engine betters what ends in a bad step."""
    return [0.2, 0.8] if text(ids).rstrip().endswith("bad one") else [0.9, 0.1]


@pytest.fixture
async def stub() -> AsyncIterator[StubServer]:
    async with StubServer() as server:
        yield server


def engines(url: str, **others: Any) -> dict[str, Any]:
    return {
        "small": Scripted(STEPS, name="tiny"),
        "router": orc.engines.pooling(url, measures="escalation"),
        "large": Scripted(["better\n\n"], name="huge"),
        **others,
    }


async def pair_of(url: str) -> Any:
    silent = {"small": Scripted(lambda request: "6", name="tiny"), "large": Scripted(lambda request: "8", name="huge")}
    async with orc.Pipeline(engines(url, **silent), "large", db=":memory:") as pipeline:
        return await pipeline.pair()


def talks(replies: list[str], greedy: str) -> Any:
    """Answer the identity's prompts alike, and everything else in order."""
    left = list(replies)
    return lambda request: greedy if request.purpose == "fingerprint" else left.pop(0)


async def ready(stub: StubServer, folder: Path, threshold: float = 0.5, **but: Any) -> orc.Pipeline:
    """Return a pipeline whose router's file and calibration are for its engines."""
    pair = await pair_of(stub.url)
    file = folder / "router.json"
    file.write_text(
        json.dumps(served({**FIRST, "pair": pair.to_json()}, Forecast(shape=Served()), {}, {"fitted_on": []}).to_json())
    )
    router = Arbitrage(file=str(file), **but)
    silent = {name: Scripted(["6"], name=served) for name, served in (("small", "tiny"), ("large", "huge"))}
    async with orc.Pipeline(engines(stub.url, **silent), router, db=":memory:") as other:
        options = {name: value for name, value in options_of(other.router).items() if name != "threshold"}
        under = await other.circumstances(other.router)
    calibration = Calibration(
        router="arbitrage",
        options=options,
        fixes={"threshold": threshold},
        target="max-accuracy-loss",
        value=0.01,
        measured={},
        pair=pair,
        under=under,
        workload="mine",
        split="calibration",
        fitted_on=(),
        made="2026-11-27",
        package="0.1.0",
    )
    talking = {
        "small": Scripted(talks(STEPS, "6"), name="tiny"),
        "large": Scripted(talks(["better\n\n"] * 3, "8"), name="huge"),
    }
    return orc.Pipeline(engines(stub.url, **talking), router, calibration=calibration, db=":memory:")


async def test_the_large_engine_is_called_only_where_escalation_is_likely(stub: StubServer, tmp_path: Path) -> None:
    FakePooling(stub, escalates, context=1000)
    async with await ready(stub, tmp_path) as pipeline:
        result = await pipeline.arun("?")
        stored = pipeline.journal.run(result.run_id)
    assert [step.writer for step in result.steps] == ["small", "large", "small"]
    assert [signal.value for signal in stored.signals] == pytest.approx([0.1, 0.8, 0.1])
    assert result.ledger.total(engine="large").calls == 1
    assert result.ledger.total(engine="router").calls == 3


@pytest.mark.parametrize(("threshold", "writers"), [(1.0, {"small"}), (0.0, {"large"}), (0.8, {"small"})])
async def test_extreme_thresholds_leave_one_engine_and_a_tie_is_kept(
    stub: StubServer, tmp_path: Path, threshold: float, writers: set[str]
) -> None:
    FakePooling(stub, escalates, context=1000)
    async with await ready(stub, tmp_path, threshold) as pipeline:
        result = await pipeline.arun("?")
    assert {step.writer for step in result.steps} == writers


async def test_without_history_only_the_tags_of_what_is_asked_change(stub: StubServer, tmp_path: Path) -> None:
    FakePooling(stub, escalates, context=1000)
    asked = {}
    for history in (True, False):
        async with await ready(stub, tmp_path, history=history) as pipeline:
            await pipeline.start()
            stub.seen.clear()
            await pipeline.arun("?")
        asked[history] = [text(body["input"]) for body in stub.bodies("/pooling")]
    assert asked[True][2] == "?\nModel 0: good one\n\nModel 1: better\n\nModel 0: \\boxed{7}\n\n"
    assert asked[False] == [each.replace("Model 1", "Model 0") for each in asked[True]]


async def test_a_pipeline_without_such_an_engine_says_so(stub: StubServer, tmp_path: Path) -> None:
    FakePooling(stub, escalates, context=1000)
    file = tmp_path / "router.json"
    pair = (await pair_of(stub.url)).to_json()
    file.write_text(
        json.dumps(served({**FIRST, "pair": pair}, Forecast(shape=Served()), {}, {"fitted_on": []}).to_json())
    )
    rates = engines(stub.url, router=orc.engines.pooling(stub.url))
    async with orc.Pipeline(rates, Arbitrage(file=str(file)), db=":memory:") as pipeline:
        assert ("prm" in pipeline.scorers, "escalation" in pipeline.scorers) == (True, False)
        with pytest.raises(MissingCapability, match="asks scorer 'escalation'; the pipeline has judge"):
            await pipeline.start()


@pytest.mark.parametrize("scorer", ["escalation", "escalation-plain"])
def test_no_other_router_takes_the_chance_of_a_better_step_for_how_good_the_draft_is(scorer: str) -> None:
    for router in (RSD(scorer=scorer), Hybrid(weights={scorer: 1.0}, threshold=0.5, costs={scorer: 1.0})):
        with pytest.raises(UserError, match=f"cannot ask scorer '{scorer}'"):
            orc.Pipeline(engines("http://127.0.0.1:1"), router, db=":memory:")


async def test_another_pair_is_refused(stub: StubServer, tmp_path: Path) -> None:
    FakePooling(stub, escalates, context=1000)
    async with await ready(stub, tmp_path) as pipeline:
        other = Scripted(talks(["better\n\n"], "9"), name="huge")
        given = engines(stub.url, small=Scripted(talks(STEPS, "6"), name="tiny"), large=other)
        async with orc.Pipeline(given, pipeline.router, calibration=None, db=":memory:") as wrong:
            wrong._is_experiment = True
            with pytest.raises(BadConfig, match="trained for another pair: engine 'large'"):
                await wrong.arun("?")


async def test_a_pipeline_can_have_one_engine_for_each(stub: StubServer) -> None:
    FakePooling(stub, escalates, context=1000)
    both = engines(stub.url, prm=orc.engines.pooling(stub.url))
    pipeline = orc.Pipeline(both, "large", db=":memory:")
    asked = {name: scorer.engine for name, scorer in pipeline.scorers.items() if scorer.engine}
    assert asked == {"prm": "prm", "escalation": "router", "escalation-plain": "router"}
