"""A question of ours is answered with one of some words, and how sure the engine was is read from its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, nan
from typing import Any

import pytest

from orchestrator.engines.base import Completion, Prefix, Request
from orchestrator.engines.choice_probe import ChoiceProbe, Chosen
from orchestrator.engines.in_process import Embedded
from orchestrator.engines.scripted import Reply, Scripted
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.types import Message, Step, Stop, TokenLogprob

TASK = [Message("user", "Compute 3+4.")]
Tops = Sequence[Mapping[str, float]]


def token(top: Mapping[str, float]) -> TokenLogprob:
    """The likeliest of some tokens, and all of them."""
    ranked = [TokenLogprob(1, text, log(p) if p == p else nan) for text, p in sorted(top.items(), key=lambda x: -x[1])]
    return ranked[0]._replace(top=tuple(ranked))


async def choose(words: tuple[str, ...], tops: Tops, stop: Stop = Stop.LENGTH) -> Chosen:
    tokens = tuple(map(token, tops))
    text = "".join(each.text for each in tokens)

    async def call(engine: str, purpose: str, prompt: Prefix, **options: Any) -> Completion:
        return Completion(text, stop, 10, len(tokens), 0.5, logprobs=tokens)

    stream = StepStream({"small": Scripted([], name="small")}, {"small": "utf-8"}, TASK)
    return await ChoiceProbe(question="Which?", words=words).choose("small", stream, call, logprobs=20)


@pytest.mark.parametrize(
    ("words", "tops", "stop", "word", "share"),
    [
        pytest.param(("yes", "no"), [{"yes": 0.6, "no": 0.2}], Stop.LENGTH, "yes", 0.75, id="whole tokens"),
        pytest.param(("no", "yes"), [{"y": 0.4, "n": 0.4}], Stop.LENGTH, "no", 0.5, id="a tie is the first's"),
        pytest.param(("yes", "no"), [{" Yes": 0.3, "YES.": 0.3, "**no": 0.2}], Stop.LENGTH, "yes", 0.75, id="dressed"),
        pytest.param(("yes", "no"), [{"none": 0.9, "yes": 0.1}], Stop.LENGTH, "yes", 1.0, id="another word"),
        pytest.param(
            ("CORRECT", "INCORRECT"), [{"IN": 0.8, "CO": 0.2}], Stop.LENGTH, "INCORRECT", 0.8, id="beginnings"
        ),
        pytest.param(
            ("think", "theory"), [{"th": 0.9}, {"ink": 0.2, "eory": 0.6}], Stop.LENGTH, "theory", 0.75, id="read on"
        ),
        pytest.param(
            ("yes", "no"), [{"\n": 0.8, "no": 0.2}, {"yes": 0.5}], Stop.LENGTH, "yes", 2 / 3, id="a blank, read on"
        ),
        pytest.param(
            ("no", "no_think"),
            [{"no": 1.0}, {"_": 0.7, "<|im_end|>": 0.1}],
            Stop.LENGTH,
            "no_think",
            7 / 8,
            id="goes on",
        ),
        pytest.param(("no", "no_think"), [{"no": 0.9, "x": 0.1}], Stop.END, "no", 1.0, id="ends where another goes on"),
        pytest.param(
            ("think", "think hard"), [{"think": 1}, {" h": 0.6, ".": 0.2}], Stop.LENGTH, "think hard", 0.75, id="two"
        ),
    ],
)
async def test_the_likeliest_word_is_chosen(
    words: tuple[str, ...], tops: Tops, stop: Stop, word: str, share: float
) -> None:
    chosen = await choose(words, tops, stop)
    assert (chosen.word, chosen.share) == (word, pytest.approx(share))
    assert (chosen.output_tokens, chosen.seconds) == (len(tops), 0.5)


@pytest.mark.parametrize(
    "tops",
    [
        pytest.param([], id="no logprobs"),
        pytest.param([{"maybe": 0.9, "</think>": 0.1}], id="other words"),
        pytest.param([{"nothing": 0.9, "yesterday": 0.1}], id="longer words"),
        pytest.param([{" ": 1.0}, {"\n": 1.0}], id="blanks alone"),
        pytest.param([{"\n": nan}, {"yes": 1.0}], id="a token that the server kept to itself"),
    ],
)
async def test_without_any_of_the_words_there_is_no_choice(tops: Tops) -> None:
    with pytest.raises(SignalUnavailable, match="none of"):
        await choose(("yes", "no"), tops)


async def test_the_question_has_a_conversation_of_its_own_without_thought() -> None:
    engine = Scripted([Reply(text="no", top={"n": log(0.9), "y": log(0.1)})] * 2, name="small")
    can = await engine.start()
    stream = StepStream(
        {"small": engine},
        {"small": can.tokenizer},
        TASK,
        think={"small": True},
        think_tags={"small": can.think_tags},
        switches={"small": can.think_switch},
    )
    before = await stream.prefix("small")
    stream.keep(Step(index=0, attempt=0, writer="small", text="so far", ids=[7], num_tokens=1, stop=Stop.DELIMITER))

    async def call(name: str, purpose: str, prompt: Prefix, **options: Any) -> Completion:
        return await engine.complete(Request(prompt=prompt, seed=0, purpose=purpose, **options))

    for of_task in (True, False):
        probe = ChoiceProbe(question="Easy? yes or no", words=("yes", "no"), of_task=of_task)
        chosen = await probe.choose("small", stream, call, logprobs=2)
        assert (chosen.word, chosen.share) == ("no", pytest.approx(0.9))
    prompts = [bytes(asked.prompt.ids()).decode() for asked in engine.requests if asked.prompt]
    closed = "\nassistant: <think>\n\n</think>\n\n"
    assert prompts == [f"user: Compute 3+4.\n\nEasy? yes or no{closed}", f"user: Easy? yes or no{closed}"]
    assert [(each.purpose, each.logprobs, each.sampling.temperature) for each in engine.requests] == [
        ("choice", 2, 0)
    ] * 2
    assert (await stream.prefix("small")).ids() == [*before.ids(), 7]


async def test_an_engine_without_logprobs_is_not_asked() -> None:
    engine = Scripted([], name="small")
    stream = StepStream({"small": engine}, {"small": "utf-8"}, TASK)
    with pytest.raises(SignalUnavailable, match="shows no alternatives"):
        await ChoiceProbe(question="?", words=("a", "b")).choose("small", stream, engine.complete, logprobs=0)
    assert engine.requests == []


@pytest.mark.parametrize("words", [(), ("yes",), ("yes", "Yes"), ("yes", "")])
def test_words_that_leave_no_choice_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="at least two"):
        ChoiceProbe(question="?", words=words)


@pytest.mark.embedded
async def test_the_pocket_pair_tells_a_right_answer_from_a_wrong_one() -> None:
    engine = Embedded("pocket-large", name="large", context=512, threads=1, parallel=1)
    can = await engine.start()

    async def call(name: str, purpose: str, prompt: Prefix, **options: Any) -> Completion:
        return await engine.complete(Request(prompt=prompt, seed=0, **options))

    found = []
    for answer in ("7", "9"):
        task = [*TASK, Message("assistant", f"\\boxed{{{answer}}}")]
        stream = StepStream({"large": engine}, {"large": can.tokenizer}, task, think_tags={"large": can.think_tags})
        probe = ChoiceProbe(question="Is this right? CORRECT or INCORRECT.", words=("CORRECT", "INCORRECT"))
        found.append(await probe.choose("large", stream, call, logprobs=10))
    await engine.close()
    assert [each.word for each in found] == ["CORRECT", "INCORRECT"]
    assert all(0.5 < each.share <= 1 for each in found)
