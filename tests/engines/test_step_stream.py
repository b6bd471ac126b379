"""Ids are the truth: prompts extend each other token for token, across engines and tokenizers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engines.base import Capabilities, Chain, Completion, Request, Role, Schema
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.step_stream import StepStream, is_open
from orchestrator.types import Message, Step, Stop

VOCABULARY = ["\n\n\n", ".\n\n", "\n\n", "\n\nThe", "\n", "The", " sum", " is", ".", "a", "b", "é", "7", " "]


class Greedy:
    """An engine with a word-piece tokenizer in which several tokens carry text past a blank line."""

    def __init__(self, family: str, vocabulary: Sequence[str]) -> None:
        self.name = family
        self.encoded: list[str] = []
        self.observed: list[str] = []
        self._vocabulary = vocabulary

    async def start(self) -> Capabilities:
        raise NotImplementedError

    async def render(
        self, messages: Sequence[Message], *, think: bool | None = None, tools: Sequence[Schema] = ()
    ) -> list[int]:
        return [1, *self.ids("".join(message.content for message in messages))]

    async def interject(
        self, content: str, prefill: str, *, think: bool | None = None, role: Role = "user"
    ) -> list[int]:
        self.observed += [content] if role == "tool" else []
        return [2, *self.ids(content + prefill)]

    async def encode(self, text: str) -> list[int]:
        self.encoded.append(text)
        return self.ids(text)

    async def complete(self, request: Request) -> Completion:
        raise NotImplementedError

    async def close(self) -> None: ...

    def ids(self, text: str) -> list[int]:
        found: list[int] = []
        while text:
            piece = next((each for each in self._vocabulary if text.startswith(each)), None)
            found.append(100 + self._vocabulary.index(piece) if piece else 1000 + ord(text[0]))
            text = text.removeprefix(piece) if piece else text[1:]
        return found

    def text(self, ids: Sequence[int]) -> str:
        return "".join(self._vocabulary[id - 100] if id < 1000 else chr(id - 1000) for id in ids if id > 2)


def step(index: int, writer: str, text: str, ids: Sequence[int] = (), attempt: int = 0) -> Step:
    return Step(
        index=index, attempt=attempt, writer=writer, text=text, ids=ids, num_tokens=len(ids), stop=Stop.DELIMITER
    )


def stream_of(*engines: Greedy) -> StepStream:
    tokenizers = {engine.name: engine.name for engine in engines}
    return StepStream({engine.name: engine for engine in engines}, tokenizers, [Message("user", "The sum ")])


texts = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8).map("".join)


@given(st.lists(st.tuples(st.booleans(), texts, texts), min_size=1, max_size=12))
def test_every_prompt_extends_the_one_before_token_for_token(story: list[tuple[bool, str, str]]) -> None:
    async def check() -> None:
        small, large = Greedy("small", VOCABULARY), Greedy("large", VOCABULARY[3:])
        stream = stream_of(small, large)
        said, before = "The sum ", {"small": [1], "large": [1]}
        for index, (is_large, text, rejected) in enumerate(story):
            writer = large if is_large else small
            draft = step(index, "small", rejected, small.ids(rejected))
            judged = (await stream.with_draft("large", draft)).ids()
            kept = step(index, writer.name, text, writer.ids(text), attempt=1)
            stream.keep(kept)
            said += text
            for engine in (small, large):
                ids = (await stream.prefix(engine.name)).ids()
                assert ids[: len(before[engine.name])] == before[engine.name]
                assert engine.text(ids) == said
                before[engine.name] = ids
            assert large.text(judged) == said.removesuffix(text) + rejected
        for engine in (small, large):
            foreign = [text for is_large, text, _ in story if is_large is (engine is small)]
            drafts = [rejected for _, _, rejected in story] if engine is large else []
            assert sorted(engine.encoded) == sorted(foreign + drafts), "foreign text is tokenised once"

    asyncio.run(check())


@given(st.lists(st.tuples(st.booleans(), texts), min_size=2, max_size=8), st.data())
@settings(deadline=None)
def test_ahead_of_pending_drafts_prompts_are_what_they_will_be(
    story: list[tuple[bool, str]], data: st.DataObject
) -> None:
    """Digests too, whenever the drafts are kept while others are already behind them."""

    async def check() -> None:
        small, large = Greedy("small", VOCABULARY), Greedy("large", VOCABULARY[3:])
        stream = stream_of(small, large)
        steps = [
            step(index, "large" if is_large else "small", text, (large if is_large else small).ids(text))
            for index, (is_large, text) in enumerate(story)
        ]
        pending, num_kept, early = stream, 0, []
        for each in steps:
            pending = pending.ahead(each)
            early.append((pending, {name: await pending.prefix(name) for name in ("small", "large")}))
            for _ in range(data.draw(st.integers(0, each.index + 1 - num_kept))):
                stream.keep(steps[num_kept])
                num_kept += 1
        for each, (later, before) in zip(steps, early, strict=True):
            if each.index >= num_kept:
                stream.keep(each)
                num_kept += 1
            again = {name: await later.prefix(name) for name in ("small", "large")}
            whole = stream_of(small, large)
            for kept in steps[: each.index + 1]:
                whole.keep(kept)
            for name in ("small", "large"):
                expected = await whole.prefix(name)
                assert before[name].digest == expected.digest
                assert before[name].ids() == expected.ids()
                if num_kept <= each.index + 1:
                    assert again[name].digest == expected.digest
        assert [kept.text for kept in stream.steps] == [each.text for each in steps]

    asyncio.run(check())


async def test_what_is_learned_of_a_draft_ahead_is_not_asked_again_once_it_is_kept() -> None:
    small, large = Greedy("small", VOCABULARY), Greedy("large", VOCABULARY[3:])
    stream = stream_of(small, large)
    await stream.ahead(step(0, "small", "a sum.", small.ids("a sum."))).prefix("large")
    same = step(0, "small", "a sum.", small.ids("a sum."))
    await stream.with_draft("large", same)
    stream.keep(same)
    await stream.prefix("large")
    assert large.encoded == ["a sum."]
    other = step(1, "small", "b.", small.ids("b."))
    await stream.ahead(other).prefix("large")
    await stream.with_draft("large", step(1, "small", "7.", small.ids("7.")))
    assert large.encoded == ["a sum.", "b.", "7."]


async def test_a_kept_draft_is_not_tokenised_a_second_time() -> None:
    small, large = Greedy("small", VOCABULARY), Greedy("large", VOCABULARY[3:])
    stream = stream_of(small, large)
    draft = step(0, "small", "The sum is 7.\n\n", small.ids("The sum is 7.\n\n"))
    judged = await stream.with_draft("large", draft)
    stream.keep(draft)
    assert (await stream.prefix("large")).ids() == judged.ids()
    assert large.encoded == ["The sum is 7.\n\n"]


async def test_engines_of_one_tokenizer_exchange_ids_untouched() -> None:
    engines = {"small": Scripted([], name="small"), "large": Scripted([], name="large")}
    stream = StepStream(engines, {"small": "same", "large": "same"}, [Message("user", "q")])
    start = (await stream.prefix("large")).ids()
    stream.keep(step(0, "small", "é\n\n", [7, 8, 9]))
    assert (await stream.prefix("large")).ids() == [*start, 7, 8, 9]


async def test_a_rolled_back_step_is_in_no_later_prompt() -> None:
    small, large = Greedy("small", VOCABULARY), Greedy("large", VOCABULARY[3:])
    stream = stream_of(small, large)
    for index, text in enumerate(("a\n\n", "b\n\n", "7\n\n")):
        stream.keep(step(index, "small", text, small.ids(text)))
    held = await stream.prefix("large")
    stream.roll_back(1)
    stream.keep(step(1, "large", "The\n\n", large.ids("The\n\n")))
    assert small.text((await stream.prefix("small")).ids()) == "The sum a\n\nThe\n\n"
    assert large.text((await stream.prefix("large")).ids()) == "The sum a\n\nThe\n\n"
    assert large.text(held.ids()) == "The sum a\n\nb\n\n7\n\n", "a prompt handed out before stays as it was"


class Noted(NamedTuple):
    """A stream's text as it has to be: the kept steps, and a note in front of one of them."""

    steps: tuple[str, ...] = ()
    at: int = 0
    note: str = ""

    def text(self) -> str:
        parts = [*self.steps]
        if self.note and self.at <= len(parts):
            parts.insert(self.at, self.note)
        return "The sum " + "".join(parts)


@given(st.lists(st.tuples(st.sampled_from(["keep", "back", "note"]), texts), max_size=12))
@settings(deadline=None, max_examples=40)
def test_a_note_stands_where_it_was_put_and_leaves_no_trace_when_it_goes(story: list[tuple[str, str]]) -> None:
    async def check() -> None:
        small, large = Greedy("small", VOCABULARY), Greedy("large", VOCABULARY[3:])
        stream, told = stream_of(small, large), Noted()
        for what, text in story:
            index = len(told.steps)
            if what == "keep":
                draft = step(index, "small", text, small.ids(text))
                judged = (await stream.with_draft("large", draft)).digest
                stream.keep(draft)
                told = told._replace(steps=(*told.steps, text))
                if told.at <= index:  # else the note comes behind this step
                    assert (await stream.prefix("large")).digest == judged
            elif what == "back":
                stream.roll_back(index // 2)
                told = told._replace(steps=told.steps[: index // 2])
            else:
                told = told._replace(at=index, note="" if text.startswith("a") else text)
                stream.note(told.at, told.note)
            fresh = stream_of(small, large)
            for place, each in enumerate(told.steps):
                fresh.keep(step(place, "small", each, small.ids(each)))
            fresh.note(told.at, told.note)
            for engine in (small, large):
                prompt, again = await stream.prefix(engine.name), await fresh.prefix(engine.name)
                assert (engine.text(prompt.ids()), prompt.digest) == (told.text(), again.digest)

    asyncio.run(check())


async def test_a_note_that_comes_while_a_prompt_is_made_is_in_it_whole() -> None:
    large = Greedy("large", VOCABULARY[3:])
    small, waits = Greedy("small", VOCABULARY), asyncio.Event()
    stream = stream_of(small, large)
    encode = large.encode

    async def slow(text: str) -> list[int]:
        await waits.wait()
        return await encode(text)

    stream.keep(step(0, "small", "a\n\n", small.ids("a\n\n")))
    await stream.prefix("large")
    stream.keep(step(1, "small", "b\n\n", small.ids("b\n\n")))
    large.encode = slow  # type: ignore[method-assign]
    asked = asyncio.ensure_future(stream.prefix("large"))
    await asyncio.sleep(0)
    stream.note(0, "7")
    waits.set()
    assert large.text((await asked).ids()) == "The sum 7a\n\nb\n\n"
    assert (await stream.prefix("large")).ids() == (await asked).ids()


async def test_asks_side_by_side_append_a_step_once() -> None:
    small, large = Greedy("small", VOCABULARY), Greedy("large", VOCABULARY[3:])
    stream = stream_of(small, large)
    stream.keep(step(0, "small", "a\n\n", small.ids("a\n\n")))
    prefixes = await asyncio.gather(*(stream.prefix("large") for _ in range(5)))
    assert {tuple(prefix.ids()) for prefix in prefixes} == {(1, *large.ids("The sum "), *large.ids("a\n\n"))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n\n", False),
        ("```python\nx = 1\n\n", True),
        ("```python\nx = 1\n```\n\n", False),
        ("a `word` and ``two``\n\n", False),
        ("<tool_call>{\n\n", True),
        ("<tool_call>{}</tool_call>\n\n", False),
        ("<tool_call>{}</tool_call> <tool>calc(\n\n", True),
        ("", False),
    ],
)
def test_a_blank_line_inside_a_fence_or_a_tool_call_ends_no_step(text: str, expected: bool) -> None:
    assert is_open(text) is expected


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=6), st.lists(st.integers(0, 2**31 - 1)))
def test_a_prefix_is_what_the_chain_held_when_it_was_made(parts: list[list[int]], own: list[int]) -> None:
    chain, held, expected = Chain(), [], []
    for part in parts:
        chain.append(part)
        expected += part
        held.append((chain.prefix().extended(own), [*expected, *own]))
    for prefix, ids in held:
        assert prefix.ids() == ids
        assert len(prefix) == len(ids)


@given(st.lists(st.integers(0, 99)), st.lists(st.integers(0, 99)))
def test_equal_prompts_have_equal_digests_and_others_differ(first: list[int], second: list[int]) -> None:
    assert Chain(first).prefix().digest == Chain(first).prefix().digest
    assert (Chain(first).prefix().digest == Chain(second).prefix().digest) is (first == second)
