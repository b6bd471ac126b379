"""P(escalate) from a served classifier: what it is asked, what it answers, and every way in which there is no value."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from fake_pooling import FakePooling
from fake_vllm import BOS, text
from stub_server import StubServer

from orchestrator.engines.base import Completion, Engine, Prefix, Request
from orchestrator.engines.dialects.pooling import Pooling
from orchestrator.engines.scorers.escalation import Escalation
from orchestrator.engines.scorers.reward import prm
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.spec import EngineSpec, JudgePrompt
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import BadConfig, EngineProtocol, SignalUnavailable, UserError
from orchestrator.types import Message, Sampling, Signal, Step, Stop

URL = "http://127.0.0.1:8003/v1"


def step(index: int, writer: str, text: str) -> Step:
    return Step(index=index, attempt=0, writer=writer, text=text, ids=[1], num_tokens=1, stop=Stop.DELIMITER)


KEPT = (step(0, "small", "2+2=4\n\n"), step(1, "large", "4+4=8\n\n"))
DRAFT = step(2, "small", "8+<s>8=17\n\n")


@pytest.fixture
async def engine(stub: StubServer) -> AsyncIterator[Pooling]:
    made = Pooling(stub.url, name="router")
    yield made
    await made.close()


async def measured(engine: Engine, *, history: bool = True, kept: Sequence[Step] = KEPT) -> Signal:
    stream = StepStream({"router": engine}, {"router": "a", "small": "b", "large": "b"}, [Message("user", "Sum.")])
    for each in kept:
        stream.keep(each)

    async def call(
        name: str, purpose: str, prompt: Prefix, *, sampling: Sampling, max_tokens: int, logprobs: int = 0
    ) -> Completion:
        request = Request(prompt=prompt, sampling=sampling, max_tokens=max_tokens, seed=0, logprobs=logprobs)
        return await engine.complete(request)

    return await Escalation(engine="router", history=history).score("router", stream, DRAFT, call)


async def test_it_is_asked_in_the_published_format_without_a_chat_template(stub: StubServer, engine: Pooling) -> None:
    FakePooling(stub)
    await measured(engine)
    await measured(engine, history=False)
    told, untold = (body["input"] for body in stub.bodies("/pooling")[1:])
    end = "\n\n"
    assert text(told) == f"Sum.\nModel 0: 2+2=4{end}Model 1: 4+4=8{end}Model 0: 8+<s>8=17{end}"
    assert text(untold) == text(told).replace("Model 1", "Model 0")
    assert BOS not in told  # the letters of a control token are letters


async def test_the_first_draft_is_read_behind_the_problem_alone(stub: StubServer, engine: Pooling) -> None:
    FakePooling(stub)
    await measured(engine, kept=())
    assert text(stub.bodies("/pooling")[-1]["input"]) == "Sum.\nModel 0: 8+<s>8=17\n\n"


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ([0.25, 0.75], 0.75),
        ([1.0, 0.0], 0.0),
        ([0.0, 1.0], 1.0),
        ([0.505, 0.505], 0.5),
        (
            lambda ids: [[0.9, 0.1]] * (len(ids) - 1) + [[0.25, 0.75]],
            0.75,
        ),  # a token classifier: one row for each token, the last one counts
        ([0.3], 0.3),
    ],
)
async def test_the_value_is_the_probability_of_the_second_label(
    stub: StubServer, engine: Pooling, row: Any, value: float
) -> None:
    FakePooling(stub, row if callable(row) else lambda ids: row)
    signal = await measured(engine)
    assert signal.value == pytest.approx(value)
    assert (signal.name, signal.unit, signal.output_tokens) == ("escalation", "probability", 0)
    assert (await measured(engine, history=False)).name == "escalation-plain"


async def test_another_number_of_labels_is_no_value(stub: StubServer, engine: Pooling) -> None:
    FakePooling(stub, lambda ids: [0.1] * 10)
    with pytest.raises(SignalUnavailable, match="engine 'router' named 10 labels; a trained router has 2"):
        await measured(engine)


async def test_an_engine_that_names_no_labels_is_no_router() -> None:
    with pytest.raises(SignalUnavailable, match="engine 'router' named no labels: is it one of kind pooling"):
        await measured(Scripted(["8"], family="a"))


async def test_numbers_that_are_no_probabilities_are_a_broken_server(stub: StubServer, engine: Pooling) -> None:
    server = FakePooling(stub)
    await engine.start()
    server.answers = lambda ids: [None, None]
    with pytest.raises(EngineProtocol, match="no probabilities"):
        await measured(engine)


@pytest.mark.parametrize(
    "options",
    [{"kind": "vllm"}, {"kind": "pooling", "step_tag": "<s>"}, {"kind": "pooling", "judge": JudgePrompt()}],
)
def test_only_a_pooling_engine_without_a_format_of_its_own_measures_it(options: dict[str, Any]) -> None:
    with pytest.raises(BadConfig, match='measures = "escalation" is for an engine of kind pooling'):
        EngineSpec(url=URL, writes=False, measures="escalation", **options)


def test_what_an_engine_measures_is_known_and_part_of_a_runs_settings() -> None:
    of = EngineSpec(kind="pooling", url=URL, writes=False, measures="escalation")
    assert of.settings()["measures"] == "escalation"
    assert "measures" not in EngineSpec(kind="pooling", url=URL, writes=False).settings()
    with pytest.raises(BadConfig, match="measures = 'taste'; known: prm, escalation"):
        EngineSpec(kind="pooling", url=URL, writes=False, measures="taste")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="engine 'router' measures 'escalation', which does not tell how good"):
        prm("router", of)
