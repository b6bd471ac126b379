"""The verdict's word, read both ways, and every way in which there is none."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engines.base import Completion, Prefix, Request
from orchestrator.engines.in_process import Embedded
from orchestrator.engines.pocket import pocket_pair
from orchestrator.engines.scorers.base import Call
from orchestrator.engines.scorers.verdict import Verdict
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.engines.spec import EngineSpec, VerdictPrompt
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import BadConfig, SignalUnavailable
from orchestrator.runtime.build import scorers_of
from orchestrator.types import Message, Sampling, Signal, Step, Stop, TokenLogprob

STEPS = [
    Step(index=index, attempt=0, writer="large", text=text, ids=list(text.encode()), num_tokens=7, stop=Stop.END)
    for index, text in enumerate(["2+2=4\n\n", "4+4=8\n\n"])
]


async def judge(verdict: Verdict, engine: Any, *, kept: int = 2) -> Signal:
    stream = StepStream({"large": engine}, {"large": "utf-8"}, [Message("user", "2+2+4?")])
    for step in STEPS[:kept]:
        stream.keep(step)

    return await verdict.score("large", stream, STEPS[1], call_of(engine))


def call_of(engine: Any) -> Call:
    async def call(
        name: str, purpose: str, prompt: Prefix, *, sampling: Sampling, max_tokens: int, logprobs: int = 0
    ) -> Completion:
        request = Request(
            prompt=prompt, sampling=sampling, max_tokens=max_tokens, seed=0, logprobs=logprobs, purpose=purpose
        )
        completion: Completion = await engine.complete(request)
        return completion

    return call


@pytest.mark.parametrize("reading", ["share", "word"])
@pytest.mark.parametrize(
    ("said", "value"),
    [("CORRECT", 1.0), ("INCORRECT", 0.0), (" Correct.", 1.0), ("incorrect", 0.0), ("CORRECT\n\n", 1.0)],
)
async def test_without_probabilities_the_value_is_the_word(said: str, value: float, reading: Any) -> None:
    signal = await judge(Verdict(reading=reading), Scripted([said]))
    assert (signal.name, signal.value, signal.raw, signal.unit) == ("verdict", value, value, "word")


@pytest.mark.parametrize(
    "said",
    [
        "",
        " ",
        "Maybe",
        "NOT CORRECT",
        "I think so",
        "CORRECTED",
        "CORRECT or INCORRECT",
        "INCORRECT. CORRECT",
        "\u202eC",
    ],
)
async def test_an_answer_that_is_not_just_one_of_the_words_is_no_verdict(said: str) -> None:
    top = {"C": log(0.6), "I": log(0.3)}
    for reply in (said, Reply(text=said, top=top)):
        with pytest.raises(SignalUnavailable, match="neither CORRECT nor INCORRECT"):
            await judge(Verdict(prompt=VerdictPrompt(max_tokens=30)), Scripted([reply]))


async def test_a_word_that_is_cut_is_no_verdict() -> None:
    with pytest.raises(SignalUnavailable, match="answered 'INCO'"):
        await judge(Verdict(prompt=VerdictPrompt(max_tokens=4)), Scripted(["INCORRECT"]))


@pytest.mark.parametrize(
    ("said", "top", "value"),
    [
        ("CORRECT", {"C": 0.6, "I": 0.2, "x": 0.2}, 0.75),
        ("INCORRECT", {"I": 0.9, "C": 0.1}, 0.1),
        ("CORRECT", {"CORRECT": 0.3, "COR": 0.3, " Cor": 0.1, "IN": 0.2}, 7 / 9),
        ("CORRECT", {"C": 1.0}, 1.0),
        ("CORRECT", {"x": 0.9, "y": 0.1}, 1.0),
    ],
)
async def test_the_share_is_that_of_the_right_word_among_the_two(
    said: str, top: dict[str, float], value: float
) -> None:
    reply = Reply(text=said, top={text: log(share) for text, share in top.items()})
    assert (await judge(Verdict(), Scripted([reply]))).value == pytest.approx(value)


def token(text: str, shares: dict[str, float]) -> TokenLogprob:
    top = tuple(TokenLogprob(index, each, log(share)) for index, (each, share) in enumerate(shares.items()))
    return TokenLogprob(0, text, 0.0, top)


class Says(Scripted):
    """Answers with these tokens and what stood beside each."""

    def __init__(self, *tokens: TokenLogprob) -> None:
        super().__init__(["".join(each.text for each in tokens)])
        self._tokens = tokens

    async def complete(self, request: Request) -> Completion:
        return (await super().complete(request))._replace(logprobs=self._tokens)


async def test_words_that_begin_alike_are_told_apart_where_they_part() -> None:
    prompt = VerdictPrompt(right="Passes", wrong="Passable")
    tokens = [token("Pass", {"Pass": 0.9, "No": 0.1}), token("es", {"es": 0.6, "able": 0.3, "x": 0.1})]
    assert (await judge(Verdict(prompt=prompt), Says(*tokens))).value == pytest.approx(2 / 3)


async def test_a_reply_that_begins_with_a_blank_token_is_read_from_the_next() -> None:
    tokens = [token("\n", {"\n": 1.0}), token("CORRECT", {"CORRECT": 0.8, "INCORRECT": 0.2})]
    assert (await judge(Verdict(), Says(*tokens))).value == pytest.approx(0.8)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=4), st.floats(1e-9, 1.0), max_size=6), st.text(max_size=9))
def test_whatever_stands_beside_a_token_the_share_is_one_or_there_is_none(shares: dict[str, float], said: str) -> None:
    tokens = (token(said, shares), token("CORRECT", shares))
    reply = Completion(text=said, stop=Stop.END, prompt_tokens=1, output_tokens=2, seconds=0.0, logprobs=tokens)
    share = Verdict()._share(reply)
    assert share is None or 0 <= share <= 1


async def test_the_question_stands_behind_the_kept_steps_and_none_of_them_twice() -> None:
    for kept in (1, 2):
        engine = Scripted(["CORRECT"])
        await judge(Verdict(prompt=VerdictPrompt(question="Right?", prefill="It is ")), engine, kept=kept)
        (asked,) = engine.requests
        assert asked.prompt is not None
        text = bytes(asked.prompt.ids()).decode()
        assert text == "user: 2+2+4?\nassistant: 2+2=4\n\n4+4=8\n\n\nuser: Right?\nassistant: It is "
        assert (asked.max_tokens, asked.sampling.temperature, asked.purpose) == (10, 0.0, "judge")


async def test_another_try_of_a_kept_step_is_no_kept_step() -> None:
    engine = Scripted([])
    stream = StepStream({"large": engine}, {"large": "utf-8"}, [Message("user", "q")])
    stream.keep(STEPS[0])
    stream.keep(STEPS[1])
    kept = (await stream.prefix("large")).ids()
    assert (await stream.with_draft("large", STEPS[1])).ids() == kept
    stream.roll_back(1)
    assert (await stream.with_draft("large", STEPS[1])).ids() == kept


async def test_only_a_reading_that_needs_logprobs_asks_for_them() -> None:
    assert (Verdict().logprobs, Verdict(reading="word").logprobs) == (10, 0)
    engine = Scripted(["CORRECT"])
    await judge(Verdict(reading="word"), engine)
    assert engine.requests[0].logprobs == 0


def test_the_largest_engine_is_asked_in_the_words_it_brings() -> None:
    own = VerdictPrompt(question="Right?")
    engines = {"small": EngineSpec(kind="x"), "large": EngineSpec(kind="x", verdict=own)}
    assert scorers_of({}, engines)["verdict"] == Verdict(prompt=own)
    assert scorers_of({}, {"small": EngineSpec(kind="x", verdict=own), "large": EngineSpec(kind="x")})[
        "verdict"
    ] == Verdict(prompt=VerdictPrompt())
    assert scorers_of({}, pocket_pair())["verdict"].prompt.think is False  # type: ignore[attr-defined]


@pytest.mark.embedded
async def test_the_pair_is_asked_in_the_words_it_was_trained_on_and_answers_with_one_token() -> None:
    large = Embedded("pocket-large", context=2048, threads=1)
    try:
        asked = pocket_pair()["large"].verdict
        assert asked is not None
        ids = await large.interject(asked.question, asked.prefill, think=asked.think)
        words = f"<|end|><|user|>{asked.question}<|end|><|assistant|><think>\n\n</think>\n"
        assert await large._decode(ids) == words
        signal = await of_sum(large, Verdict(prompt=asked), "2+2=4")
        assert (signal.unit, signal.output_tokens) == ("probability", 1)
        assert signal.value is not None and 0.5 < signal.value < 1
    finally:
        await large.close()


async def of_sum(engine: Embedded, verdict: Verdict, said: str) -> Signal:
    """Return what an engine makes of a whole answer to one sum."""
    can = await engine.start()
    task = [Message("user", "Compute 2+2.")]
    stream = StepStream({"large": engine}, {"large": can.tokenizer, "other": "none"}, task, think={"large": True})
    text = f"{said}\n{said[-1]}\n\n</think>\n\\boxed{{{said[-1]}}}"
    step = Step(index=0, attempt=0, writer="other", text=text, num_tokens=1, stop=Stop.END)
    return await verdict.score("large", stream, step, call_of(engine))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"right": ""}, "right = ''"),
        ({"wrong": "not right"}, "wrong = 'not right': give a single word"),
        ({"right": "Yes", "wrong": "yesterday"}, "neither word may begin with the other"),
        ({"right": "same", "wrong": "SAME"}, "neither word may begin"),
        ({"max_tokens": 0}, "max_tokens = 0"),
    ],
)
def test_words_that_cannot_be_told_apart_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        VerdictPrompt(**options)
