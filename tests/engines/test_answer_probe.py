"""How sure an engine was of an answer it was made to give."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, nan
from typing import Any

import pytest

from orchestrator.engines.answer_probe import AnswerProbe, Said
from orchestrator.engines.base import Chain, Completion, Prefix, Request
from orchestrator.engines.in_process import Embedded
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.step_stream import StepStream
from orchestrator.types import Message, Sampling, Step, StepKind, Stop, TokenLogprob

GREEDY = Sampling(temperature=0.0)


def token(text: str, p: float, *others: float) -> TokenLogprob:
    """A token with the probabilities of all that might have stood in its place."""
    top = (TokenLogprob(1, text, log(p)), *(TokenLogprob(9, "?", log(other)) for other in others))
    return TokenLogprob(1, text, log(p), tuple(sorted(top, key=lambda each: -each.logprob)))


def part(text: str, logprobs: Sequence[TokenLogprob] | None, stop: Stop = Stop.DELIMITER) -> Completion:
    tokens = None if logprobs is None else tuple(logprobs)
    return Completion(text, stop, 10, len(tokens or "x"), 0.5, logprobs=tokens)


async def sample(*parts: Completion, logprobs: int = 5) -> tuple[Said, list[int]]:
    left, asked = iter(parts), []

    async def call(engine: str, purpose: str, prompt: Prefix, *, logprobs: int = 0, **options: Any) -> Completion:
        asked.append(logprobs)
        return next(left)

    said = await AnswerProbe().sample("small", Chain([1]).prefix(), call, GREEDY, logprobs=logprobs)
    return said, asked


HALF = log(0.5)


@pytest.mark.parametrize(
    ("parts", "logprob", "entropy"),
    [
        pytest.param([part("4}", [token("4", 0.5, 0.5), token("}", 0.5, 0.5)])], HALF, -2 * HALF, id="two even tokens"),
        pytest.param([part("4}", [token("4}", 1.0)])], 0.0, 0.0, id="one certain token"),
        pytest.param(
            [part("{4}", [token("{4}", 0.5, 0.5)]), part("}", [token("}", 1.0)])], HALF / 2, -HALF, id="two calls"
        ),
        pytest.param([part("4}", None)], None, None, id="the engine gives none"),
        pytest.param([part("{4}", [token("{4}", 0.5)]), part("}", None)], None, None, id="for one call it gives none"),
        pytest.param([part("4}", [TokenLogprob(1, "4}", HALF)])], HALF, None, id="no alternatives"),
        pytest.param([part("4}", [TokenLogprob(1, "4}", nan)])], None, None, id="kept to itself"),
        pytest.param([part("4}", [TokenLogprob(1, "4}", 0.7)])], None, None, id="no logprob at all"),
        pytest.param([part("4 or", [token("4 or", 0.5)], Stop.LENGTH)], None, None, id="no answer"),
        pytest.param([part(" }", [token(" }", 0.5)])], None, None, id="nothing before the brace"),
    ],
)
async def test_an_answer_comes_with_how_sure_the_engine_was(
    parts: list[Completion], logprob: float | None, entropy: float | None
) -> None:
    said, _ = await sample(*parts)
    assert said.logprob == (None if logprob is None else pytest.approx(logprob, abs=1e-9))
    assert said.entropy == (None if entropy is None else pytest.approx(entropy, abs=1e-9))
    assert said.seconds == 0.5 * len(parts)


@pytest.mark.parametrize("logprobs", [0, 3])
async def test_logprobs_are_asked_for_only_where_they_are_wanted_and_in_every_call(logprobs: int) -> None:
    _, asked = await sample(part("{4}", None), part("}", None), logprobs=logprobs)
    assert asked == [logprobs, logprobs]


async def test_what_a_tool_answered_opens_no_fence_in_which_no_thought_could_be_closed() -> None:
    stream = StepStream({"small": Scripted([], name="small")}, {"small": "utf-8"}, [Message("user", "q")])
    text = "```\n<tool_call>"
    stream.keep(
        Step(index=0, attempt=0, writer="run", text=text, num_tokens=0, stop=Stop.END, kind=StepKind.OBSERVATION)
    )
    prompt = await AnswerProbe().prefix("small", stream, None)
    assert bytes(prompt.ids()).endswith(b"<tool_call>\nassistant: \\boxed{")


@pytest.mark.embedded
async def test_a_real_engine_is_surer_of_a_sum_it_knows_than_of_one_it_cannot() -> None:
    engine = Embedded("pocket-large", name="large", context=512, threads=1, parallel=1)
    can = await engine.start()

    async def call(name: str, purpose: str, prompt: Prefix, **options: Any) -> Completion:
        return await engine.complete(Request(prompt=prompt, seed=0, **options))

    sure = []
    for question in ("Compute 3+4.", "Compute 817*46 - 98*673 + 5012*77."):
        stream = StepStream(
            {"large": engine},
            {"large": can.tokenizer},
            [Message("user", question)],
            think={"large": False},
            think_tags={"large": can.think_tags},
        )
        prompt = await AnswerProbe().prefix("large", stream, None)
        sure.append(await AnswerProbe().sample("large", prompt, call, GREEDY, logprobs=5))
    await engine.close()
    easy, hard = sure
    assert easy.answer == "7"
    assert easy.logprob is not None and easy.entropy is not None
    assert hard.logprob is None or (easy.logprob > hard.logprob and easy.entropy < (hard.entropy or 0))
