"""The judge's digit, read both ways, and every way in which there is none."""

from __future__ import annotations

from math import log

import pytest

from orchestrator.engines.base import Completion, Prefix, Request
from orchestrator.engines.scorers.judge import Judge
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.engines.spec import JudgePrompt
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Message, Sampling, Signal, Step, Stop

DRAFT = Step(index=0, attempt=0, writer="large", text="2+2=4\n\n", ids=list(b"2+2=4\n\n"), num_tokens=7, stop=Stop.END)


async def rate(judge: Judge, engine: Scripted) -> Signal:
    stream = StepStream({"large": engine}, {"large": "utf-8"}, [Message("user", "2+2?")])

    async def call(
        name: str, purpose: str, prompt: Prefix, *, sampling: Sampling, max_tokens: int, logprobs: int = 0
    ) -> Completion:
        request = Request(
            prompt=prompt, sampling=sampling, max_tokens=max_tokens, seed=0, logprobs=logprobs, purpose=purpose
        )
        return await engine.complete(request)

    return await judge.score("large", stream, DRAFT, call)


@pytest.mark.parametrize(("said", "digit"), [("0", 0), ("7", 7), ("9", 9)])
async def test_the_greedy_reading_is_the_emitted_digit(said: str, digit: int) -> None:
    signal = await rate(Judge(), Scripted([said]))
    assert (signal.raw, signal.value, signal.unit) == (digit, digit / 9, "digit 0-9")


@pytest.mark.parametrize("said", ["x", " ", "", "\u0669", "!"])
async def test_an_answer_that_is_no_digit_is_no_score(said: str) -> None:
    with pytest.raises(SignalUnavailable, match="not a digit"):
        await rate(Judge(), Scripted([said]))


async def test_a_token_that_is_not_in_the_text_is_no_score_and_says_who_may_keep_it() -> None:
    class Swallows(Scripted):
        async def complete(self, request: Request) -> Completion:
            return (await super().complete(request))._replace(text="", ids=())

    with pytest.raises(SignalUnavailable, match=r"wrote a token and nothing of it.*reasoning parser"):
        await rate(Judge(), Swallows(["7"]))


async def test_the_average_weighs_digits_by_probability_and_ignores_the_rest() -> None:
    reply = Reply(text="8", top={"8": log(0.3), "2": log(0.1), "x": log(0.6)})
    signal = await rate(Judge(reading="average"), Scripted([reply]))
    assert signal.raw == pytest.approx((8 * 0.3 + 2 * 0.1) / 0.4)


async def test_the_average_without_logprobs_is_unavailable_and_crashes_nothing() -> None:
    with pytest.raises(SignalUnavailable, match="no logprobs"):
        await rate(Judge(reading="average"), Scripted(["8"]))


async def test_the_average_without_any_digit_is_unavailable() -> None:
    reply = Reply(text="x", top={"x": -0.1, "y": -3.0})
    with pytest.raises(SignalUnavailable, match="no digit"):
        await rate(Judge(reading="average"), Scripted([reply]))


async def test_the_request_is_one_greedy_token_behind_the_prompt_that_would_come_next() -> None:
    engine = Scripted(["9", "9"])
    await rate(Judge(), engine)
    await rate(Judge(reading="average"), Scripted([Reply(text="9", top={"9": -0.1})]))
    asked = engine.requests[0]
    assert (asked.max_tokens, asked.sampling.temperature, asked.logprobs, asked.purpose) == (1, 0.0, 0, "judge")
    stream = StepStream({"large": engine}, {"large": "utf-8"}, [Message("user", "2+2?")])
    stream.keep(DRAFT)
    following = (await stream.prefix("large")).ids()
    assert asked.prompt is not None
    assert asked.prompt.ids()[: len(following)] == following


async def test_only_a_reading_that_needs_logprobs_asks_for_them() -> None:
    assert (Judge().logprobs, Judge(reading="average").logprobs) == (0, 10)


async def test_a_judge_asks_in_the_words_that_its_engine_brings() -> None:
    asked: list[str] = []

    def judge(request: Request) -> str:
        assert request.prompt is not None
        asked.append(bytes(request.prompt.ids()).decode())
        return "9"

    words = JudgePrompt(question="Good?", prefill="Digit: ")
    await rate(Judge(prompt=words), Scripted(judge))
    assert asked[0].endswith("user: Good?\nassistant: Digit: ")
