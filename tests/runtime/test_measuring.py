"""An engine that only measures, such as a process reward model: asked by scorers, started and metered like any
other, and never the writer of a step."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import orchestrator as orc
from orchestrator.decisions import Decision, keep, rewrite
from orchestrator.doors import Ask, Needs
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.errors import MissingCapability, UnknownName, UserError
from orchestrator.types import History, Step

ANSWER = "\\boxed{7}"


@dataclass(frozen=True)
class AsksPrm:
    """Lets the large engine write what the step scorer does not like."""

    needs = Needs(scorers=("prm",), engines=2)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        score = await ask.score("prm", draft)
        return keep(score) if (score.value or 0) >= 0.5 else rewrite(history.large, score)


def engines(rating: str, top: dict[str, float]) -> dict[str, Scripted]:
    return {
        "small": Scripted(["a guess\n\n", ANSWER]),
        "large": Scripted([ANSWER]),
        "scorer": Scripted(lambda request: Reply(text=rating, top=top), writes=False),
    }


def test_it_has_its_place_before_those_that_write() -> None:
    pipeline = orc.Pipeline(engines("9", {"9": 0.0}), AsksPrm(), db=":memory:")
    assert list(pipeline.engines) == ["scorer", "small", "large"]
    assert (pipeline.writers, pipeline.measuring) == (("small", "large"), ("scorer",))


async def test_it_measures_every_draft_and_is_charged_for_it() -> None:
    given = engines("0", {"0": -0.2, "9": -1.8})
    async with orc.Pipeline(given, AsksPrm(), db=":memory:") as pipeline:
        result = await pipeline.arun("?")
        [signal] = pipeline.journal.run(result.run_id).signals
    assert [step.writer for step in result.steps] == ["large"]
    assert signal.name == "prm"
    assert 0.1 < signal.value < 0.25
    assert result.ledger.total(engine="scorer", purpose="judge").calls == 1
    assert result.ledger.total(engine="scorer").calls == 1
    assert result.ledger.engines[-1] == "large"


@pytest.mark.parametrize("router", [orc.routers.Random(large_share=1.0), "large"])
async def test_no_control_lets_it_write(router: object) -> None:
    given = engines("9", {"9": 0.0})
    async with orc.Pipeline(given, router, db=":memory:") as pipeline:
        result = await pipeline.arun("?")
    assert {step.writer for step in result.steps} == {"large"}
    assert not given["scorer"].requests


async def test_when_the_large_engine_fails_it_does_not_take_over() -> None:
    given = {**engines("9", {"9": 0.0}), "large": Scripted([])}
    async with orc.Pipeline(given, "large", db=":memory:") as pipeline:
        result = await pipeline.arun("?")
    assert [step.writer for step in result.steps] == ["small", "small"]
    assert not given["scorer"].requests


@dataclass(frozen=True)
class Names:
    """Gives every draft to an engine."""

    engine: str

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        return rewrite(self.engine)


@pytest.mark.parametrize("granularity", ["steps", "fused"])
async def test_a_router_that_lets_it_write_is_told_who_can(granularity: str) -> None:
    given = engines("9", {"9": 0.0})
    async with orc.Pipeline(given, Names("scorer"), db=":memory:", granularity=granularity) as pipeline:
        with pytest.raises(UnknownName, match="chose engine 'scorer'; the pipeline has small, large"):
            await pipeline.arun("?")
    assert not given["scorer"].requests


async def test_a_router_that_asks_for_it_is_refused_where_there_is_none() -> None:
    given = engines("9", {})
    del given["scorer"]
    async with orc.Pipeline(given, AsksPrm(), db=":memory:") as pipeline:
        with pytest.raises(MissingCapability, match="asks scorer 'prm'; the pipeline has judge, judge-average"):
            await pipeline.arun("?")


async def test_one_that_cannot_continue_a_text_is_refused() -> None:
    given = {**engines("9", {}), "scorer": Scripted([], continues=False, writes=False)}
    async with orc.Pipeline(given, AsksPrm(), db=":memory:") as pipeline:
        with pytest.raises(MissingCapability, match="engine 'scorer' cannot continue one"):
            await pipeline.arun("?")


def test_somebody_has_to_write() -> None:
    with pytest.raises(UserError, match="at least one engine that writes"):
        orc.Pipeline({"scorer": Scripted([], writes=False)}, "small", db=":memory:")
