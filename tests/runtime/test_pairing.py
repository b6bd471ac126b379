"""The identity of a pair: what it is made of, what changes it, and how it is stored."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchestrator as orc
from orchestrator.engines.base import Engine, Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import UserError
from orchestrator.runtime.pairing import FINGERPRINT, PROMPTS, Pair, Writer, pair_of


def says(text: str, name: str = "weights", **options: Any) -> Scripted:
    """An engine that writes the same to every prompt."""
    return Scripted(lambda request: text, name=name, **options)


async def identity(**engines: Scripted) -> Pair:
    found = {name: await engine.start() for name, engine in engines.items()}
    given: dict[str, Engine] = dict(engines)
    return await pair_of(given, found, list(engines))


async def test_the_same_engines_are_the_same_pair() -> None:
    one, other = [await identity(small=says("a"), large=says("b")) for _ in range(2)]
    assert one == other
    assert one.differs_from(other) == ""


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"small": says("other")}, "engine 'small': 'weights', but other weights: it writes other texts greedily"),
        ({"large": says("b", "tuned")}, "engine 'large' is 'weights', not 'tuned'"),
        ({"small": says("a", family="other")}, "engine 'small': 'weights' with another tokenizer"),
        ({"third": says("c")}, "its engines are small, large, not small, large, third"),
    ],
)
async def test_what_differs_is_named(changed: dict[str, Scripted], line: str) -> None:
    one = await identity(small=says("a"), large=says("b"))
    other = await identity(**{"small": says("a"), "large": says("b"), **changed})
    assert one.differs_from(other) == line
    assert one != other


async def test_the_order_of_the_engines_is_part_of_it() -> None:
    one, other = await identity(a=says("a"), b=says("b")), await identity(b=says("b"), a=says("a"))
    assert one.differs_from(other) == "its engines are a, b, not b, a"


async def test_each_engine_writes_a_few_greedy_tokens_to_each_prompt() -> None:
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return "x" * 1000

    await identity(only=Scripted(script))
    assert [(each.purpose, each.sampling.temperature) for each in asked] == [(FINGERPRINT, 0.0)] * len(PROMPTS)
    assert all(each.max_tokens <= 16 for each in asked)
    assert [bytes(each.prompt.ids()).decode() for each in asked if each.prompt] == [
        f"user: {prompt}\nassistant: " for prompt in PROMPTS
    ]


async def test_texts_that_are_cut_elsewhere_are_not_mixed_up() -> None:
    one = await identity(only=Scripted(["ab", "c", "d"]))
    other = await identity(only=Scripted(["a", "bc", "d"]))
    assert one.differs_from(other)


async def test_a_chat_only_engine_has_an_identity_without_token_ids() -> None:
    found = await identity(only=says("hello", continues=False, family=""))
    assert found.writers[0].tokenizer == ""
    assert found.differs_from(await identity(only=says("good day", continues=False, family="")))


_texts = st.text(max_size=5)
_writers = st.builds(Writer, name=_texts, serves=_texts, tokenizer=_texts, greedy=_texts)
_pairs = st.builds(Pair, writers=st.lists(_writers, min_size=1, max_size=3).map(tuple))


@given(_pairs, _pairs)
def test_stored_and_read_it_is_the_same_and_differs_exactly_where_it_is_another(one: Pair, other: Pair) -> None:
    assert Pair.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert (one.differs_from(other) == "") == (one == other)


_GOOD = Pair(writers=(Writer(name="a", serves="b", tokenizer="c", greedy="d"),)).to_json()


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {},
        {"writers": []},
        {"writers": "small"},
        {**_GOOD, "more": 1},
        {"writers": [{**_GOOD["writers"][0], "greedy": 1}]},
        {"writers": [{**_GOOD["writers"][0], "more": "1"}]},
        {"writers": [{"name": "a"}]},
    ],
)
def test_what_is_no_identity_is_refused(broken: Any) -> None:
    with pytest.raises(UserError, match="no identity of a pair"):
        Pair.from_json(broken)


@pytest.mark.embedded
async def test_the_pocket_pair_is_one_pair_however_often_it_is_loaded() -> None:
    found = []
    for _ in range(2):
        async with orc.Pipeline(orc.engines.pocket_pair(), "large", db=":memory:") as pipeline:
            can = await pipeline.start()
            found.append(await pair_of(pipeline.engines, can, pipeline.writers))
    assert found[0] == found[1]
    small, large = found[0].writers
    assert small.greedy != large.greedy
    assert found[0].differs_from(replace(found[0], writers=(large, small)))
