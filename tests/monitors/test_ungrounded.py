"""A call with words that nobody has told of is noticed at once; what the task or an answer names is ground enough."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from watched import agent, errand_turns, replay, thinking

from orchestrator.bench.workloads.tool_tasks import errands
from orchestrator.errors import UserError
from orchestrator.monitors import Ungrounded

TASK = "What is the price of 2 Pens and 3 cup?"


def noticed(*turns: tuple[str, ...], task: str = TASK, **options: Any) -> list[int]:
    """The steps at which it is noticed; a turn has two."""
    return [event.step for event in replay(Ungrounded(**options), agent(*turns, task=task))]


@pytest.mark.parametrize(
    "turns, expected",
    [
        ([("<tool>lookup(pens)</tool>", "31")], []),
        ([("<tool>lookup(lamp)</tool>", "31")], [1]),
        ([("<tool>lookup(cup)</tool>", "error: no cup, use cup4"), ("<tool>lookup(cup4)</tool>", "7")], []),
        ([("<tool>lookup(cup)</tool>", "7"), ("<tool>calc(3*7)</tool>", "21")], []),
        ([("<tool>lookup(cup)</tool>", "17"), ("<tool>calc(3*71)</tool>", "213")], [3]),
        ([("<tool>list()</tool>", "cup 7")], []),
        ([("<tool>lookup(moon)</tool>", "error: no moon"), ("<tool>lookup(moon)</tool>", "error: no moon")], [1, 3]),
        ([('search(query="pens", limit=2)', "none")], []),
        ([('search(query="pens", limit=5)', "none")], [1]),
        ([('{"name": "search", "arguments": {"query": ["cup", {"of": "pens"}], "all": true}}', "x")], []),
        ([('{"name": "search", "arguments": {"query": "bag"}}', "x")], [1]),
        ([('{"name": "search", "arguments": ', "error: malformed")], []),
        ([("no call at all", "error: malformed")], []),
        ([("I look at the bag.", "<tool>lookup(cup)</tool>", "7")], []),
        ([("<tool>calc((2+3)*2)</tool>", "10")], []),
        ([("<tool>lookup(ＰＥＮＳ)</tool>", "x")], [1]),
        ([("<tool>list()</tool>", "bags 3"), ("<tool>lookup(bag)</tool>", "3")], [3]),
        ([("<tool>list()</tool>", "3\u00a0bag\u3000Lamp"), ("<tool>lookup(bag, lamp)</tool>", "3")], []),
    ],
    ids=[
        "of the task", "of nowhere", "of an error", "of an answer", "digits turned", "no argument", "its own echo",
        "by name", "a number by name", "json", "json of nowhere", "broken json", "no call", "thought aside",
        "nested", "look-alikes", "part of a word", "between other spaces",
    ],
)  # fmt: skip
def test_it_is_noticed_behind_the_answer_to_the_call(turns: list[tuple[str, ...]], expected: list[int]) -> None:
    assert noticed(*turns) == expected


def test_what_was_observed_before_a_hand_over_is_ground_behind_it() -> None:
    run = agent(("lookup(cup)", "error: no cup, use cup4"), ("lookup(cup4)", "7"), task=TASK, window=2)
    assert replay(Ungrounded(), run) == []


def test_words_that_need_no_ground_can_be_named() -> None:
    turn = ("convert(3, EUR, 100)", "x")
    assert noticed(turn, ignore=["eur", "100"]) == []
    assert noticed(turn, ignore=["eur"]) == [1]


def test_the_event_names_the_words_and_the_call() -> None:
    (event,) = replay(Ungrounded(kind="stuck"), agent(("convert(3, kg, g)", "3000"), task=TASK))
    assert event.kind == "stuck"
    assert event.reason == "nobody has told of kg, g: convert(3, kg, g)"
    assert (event.value, event.threshold) == (2, 1)


def test_a_run_without_tools_has_nothing_to_ground() -> None:
    assert replay(Ungrounded(), thinking("lookup(moon)", "and (stars)", task=TASK)) == []


def test_a_good_worker_is_never_told_of() -> None:
    for errand in islice(errands("train", 5), 60):
        assert noticed(*errand_turns(errand), task=errand.prompt) == []


@pytest.mark.parametrize("given", [{"kind": " "}, {"ignore": "100"}])
def test_a_bad_option_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        Ungrounded(**given)
