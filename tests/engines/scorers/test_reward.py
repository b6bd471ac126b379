"""One number from the classes of a reward model, whatever their count, and every way in which there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fake_pooling import FakePooling
from fake_vllm import BOS, text
from stub_server import StubServer

from orchestrator.engines.base import Completion, Engine, Prefix, Request
from orchestrator.engines.dialects.pooling import Pooling
from orchestrator.engines.scorers.judge import Judge
from orchestrator.engines.scorers.reward import Reward, prm
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.engines.spec import EngineSpec, JudgePrompt
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Message, Sampling, Signal, Step, Stop

FIRST = Step(index=0, attempt=0, writer="small", text="2+2=4\n\n", ids=[1], num_tokens=1, stop=Stop.DELIMITER)
DRAFT = Step(index=1, attempt=1, writer="small", text="4+4=8\n\n", ids=[2], num_tokens=1, stop=Stop.DELIMITER)
POOLS = EngineSpec(kind="pooling", url="http://127.0.0.1:1", writes=False)


@pytest.fixture
async def engine(stub: StubServer) -> AsyncIterator[Pooling]:
    made = Pooling(stub.url, name="prm")
    yield made
    await made.close()


async def measured(scorer: Reward, engine: Engine) -> Signal:
    stream = StepStream({"prm": engine}, {"prm": "its own", "small": "another"}, [Message("user", "q")])
    stream.keep(FIRST)

    async def call(
        name: str, purpose: str, prompt: Prefix, *, sampling: Sampling, max_tokens: int, logprobs: int = 0
    ) -> Completion:
        request = Request(prompt=prompt, sampling=sampling, max_tokens=max_tokens, seed=0, logprobs=logprobs)
        return await engine.complete(request)

    return await scorer.score("prm", stream, DRAFT, call)


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ([0.25, 0.75], 0.75),
        ([0.0, 1.0], 1.0),
        ([1.0, 0.0], 0.0),
        ([0.3], 0.3),
        ([0.2, 0.5, 0.3], 0.55),
        ([0.0] * 7 + [0.5, 0.5, 0.0], 7.5 / 9),
        ([0.0] * 9 + [1.004], 1.0),
        ([0.505, 0.505], 0.5),
    ],
)
async def test_the_score_is_the_mean_class_as_a_share_of_the_last(
    stub: StubServer, engine: Pooling, row: list[float], value: float
) -> None:
    FakePooling(stub, lambda ids: row)
    signal = await measured(Reward(engine="prm"), engine)
    assert signal.value == pytest.approx(value)
    assert signal.raw == pytest.approx(9 * value)
    assert (signal.name, signal.unit, signal.output_tokens) == ("prm", "digit 0-9", 0)
    assert signal.value is not None
    assert 0 <= signal.value <= 1


async def test_nothing_is_asked_unless_the_engine_brings_words(stub: StubServer, engine: Pooling) -> None:
    FakePooling(stub)
    await measured(Reward(engine="prm"), engine)
    await measured(Reward(engine="prm", prompt=JudgePrompt(question="Right?", prefill="Rating: ")), engine)
    plain, asked = (text(body["input"]) for body in stub.bodies("/pooling")[1:])
    assert plain == "[user]q<|im_end|>[assistant]2+2=4\n\n4+4=8\n\n"
    assert asked == plain + "<|im_end|>[user]Right?<|im_end|>[assistant]Rating: "


async def test_every_step_is_closed_by_the_step_tag(stub: StubServer) -> None:
    FakePooling(stub)
    engine = Pooling(stub.url, name="prm", step_tag="<s>")
    await measured(Reward(engine="prm"), engine)
    sent = stub.bodies("/pooling")[-1]["input"]
    assert text(sent) == "[user]q<|im_end|>[assistant]2+2=4<s>4+4=8<s>"
    assert sent.count(BOS) == 2
    await engine.close()


@pytest.mark.parametrize("reply", ["8", Reply(text="8", top={"8": -0.1, "7": -3.0})])
async def test_an_engine_without_classes_gives_no_score(reply: str | Reply) -> None:
    with pytest.raises(SignalUnavailable, match="engine 'prm' named no classes"):
        await measured(Reward(engine="prm"), Scripted([reply], family="its own"))


def test_the_kind_of_the_engine_says_how_it_is_read() -> None:
    words = JudgePrompt(question="Good?")
    says = EngineSpec(kind="vllm", url="http://127.0.0.1:1", writes=False)
    assert prm("a", POOLS) == Reward(engine="a")
    assert prm("a", EngineSpec(kind="pooling", writes=False, judge=words)) == Reward(engine="a", prompt=words)
    assert prm("a", says) == Judge(name="prm", reading="average", engine="a")
