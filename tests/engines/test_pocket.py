"""The pair that ships with the package: a first command needs nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

import orchestrator as orc
from orchestrator.bench.workloads.random_calculation import Calculation, calculations
from orchestrator.bench.workloads.steps import check_step
from orchestrator.decisions import Decision, keep
from orchestrator.doors import Ask, Needs
from orchestrator.engines.in_process import Embedded
from orchestrator.engines.pocket import BUNDLED, bundled, pocket_pair, pocket_scorer
from orchestrator.types import History, Message, Status, Step

MOST_BYTES = 40_000_000
GREEDY = pocket_pair(temperature=0.0)


def mid(count: int) -> list[Calculation]:
    return list(islice(calculations("mid", "report", 0), count))


@pytest.fixture
async def large() -> AsyncIterator[Embedded]:
    engine = Embedded("pocket-large", context=2048, threads=1)
    yield engine
    await engine.close()


def test_the_files_ship_and_are_small() -> None:
    sizes = [Path(bundled(name)).stat().st_size for name in BUNDLED]
    assert sum(sizes) <= MOST_BYTES
    assert bundled("other.gguf") == "other.gguf"


def test_options_go_to_both_engines() -> None:
    pair = pocket_pair(temperature=0.3, threads=2, price=orc.Price(output=1.0))
    assert [(spec.sampling.temperature, spec.threads, spec.price.output) for spec in pair.values()] == [(0.3, 2, 1)] * 2


@pytest.mark.embedded
async def test_a_rating_is_asked_for_in_the_words_the_pair_was_trained_on(large: Embedded) -> None:
    judge = GREEDY["large"].judge
    ids = await large.interject(judge.question, judge.prefill, think=judge.think)
    expected = "<|end|><|user|>Rate the last step 0-9.<|end|><|assistant|><think>\n\n</think>\n"
    assert await large._decode(ids) == expected


@pytest.mark.embedded
@pytest.mark.parametrize(("think", "opened"), [(True, "<think>\n"), (False, "<think>\n\n</think>\n")])
async def test_the_template_honours_the_thinking_switch(large: Embedded, think: bool, opened: str) -> None:
    ids = await large.render([Message("user", "Compute 1+2.")], think=think)
    assert await large._decode(ids) == f"<|user|>Compute 1+2.<|end|><|assistant|>{opened}"


@pytest.mark.embedded
def test_a_pipeline_over_the_pair_thinks_in_steps_and_answers() -> None:
    with orc.Pipeline(GREEDY, orc.routers.SpecReason(), db=":memory:") as pipeline:
        result = pipeline.run("Compute 12+7-4.")
    assert (result.status, result.answer) == (Status.COMPLETED, "15")
    assert [step.text for step in result.steps[:3]] == ["12+7-4\n\n", "12+7=19\n19-4\n\n", "19-4=15\n15\n\n"]


@pytest.mark.embedded
def test_without_thinking_the_answer_comes_at_once() -> None:
    with orc.Pipeline(GREEDY, "large", think=False, db=":memory:") as pipeline:
        result = pipeline.run("Compute 3+4.")
    assert (result.answer, len(result.steps)) == ("7", 1)


@pytest.mark.embedded
def test_the_large_one_solves_what_the_small_one_often_does_not() -> None:
    tasks = mid(24)
    right = {}
    for name in ("small", "large"):
        with orc.Pipeline({name: GREEDY[name]}, name if name == "large" else "small", db=":memory:") as pipeline:
            right[name] = sum(pipeline.run(task.prompt).answer == task.answer for task in tasks)
    assert right["large"] >= 20
    assert 4 <= right["small"] <= 16


@dataclass(frozen=True)
class Watching:
    """Keeps every draft and has it measured."""

    scorer: str

    @property
    def needs(self) -> Needs:
        return Needs(scorers=(self.scorer,))

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        return keep(await ask.score(self.scorer, draft))


@pytest.mark.embedded
@pytest.mark.parametrize(("scorer", "least"), [("judge", 0.8), ("prm", 0.7)])
def test_right_steps_are_told_from_wrong_ones(scorer: str, least: float) -> None:
    """Each measure is held against the exact check of the step, over what small really writes."""
    ratings: dict[bool, list[float]] = {True: [], False: []}
    engines = {**GREEDY, "scorer": pocket_scorer()}
    with orc.Pipeline(engines, Watching(scorer), db=":memory:") as pipeline:
        for task in mid(24):
            result = pipeline.run(task.prompt)
            signals = {signal.step: signal for signal in pipeline.journal.run(result.run_id).signals}
            messages, texts = [Message("user", task.prompt)], [step.text for step in result.steps]
            for place, text in enumerate(texts):
                if (raw := signals[place].raw) is not None:
                    ratings[check_step(messages, texts[:place], text) == 1].append(raw)
    pairs = [(a > b) + 0.5 * (a == b) for a in ratings[True] for b in ratings[False]]
    assert len(ratings[False]) >= 5
    assert sum(pairs) / len(pairs) >= least
