"""Literal loops close the thought; rulers, decimals and tables do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watched import agent, history, replay, steps_of, thinking

from orchestrator.errors import UserError
from orchestrator.monitors import Repetition
from orchestrator.types import Event, History, StepKind

INTRO = list(range(100, 180))


def with_ids(*ids: list[int], **given: Any) -> History:
    """Return a run whose steps have these token ids."""
    run = thinking(*["text"] * len(ids), **given)
    run.steps = [replace(step, ids=each, num_tokens=len(each)) for step, each in zip(run.steps, ids, strict=True)]
    return run


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([INTRO + list(range(20)) * 4], (20, 4)),
        ([INTRO + list(range(20)) * 3], None),
        ([INTRO + list(range(20)) * 4 + [7]], (20, 4)),
        ([INTRO + list(range(20)) * 4 + [7, 8, 9]], None),
        ([INTRO + [5] * 64], (1, 64)),
        ([INTRO + [5] * 62], None),
        ([INTRO, *[list(range(30))] * 4], (30, 4)),
        ([INTRO, *[list(range(30))] * 3], None),
        ([INTRO + list(range(256)) * 4], (256, 4)),
        ([INTRO + list(range(257)) * 5], None),
        ([[1, 2]], None),
    ],
    ids=["a sentence", "three times", "a token behind", "other words behind", "one token", "a ruler", "steps",
         "three steps", "longest", "too long", "short"],
)  # fmt: skip
def test_a_pattern_counts_from_four_times_and_64_tokens_on(
    ids: list[list[int]], expected: tuple[int, int] | None
) -> None:
    events = replay(Repetition(), with_ids(*ids))
    if expected is None:
        assert events == []
        return
    (event,) = events
    assert event.step == len(ids) - 1
    assert event.reason == f"the last {expected[0]} tokens, {expected[1]} times in a row"
    assert (event.concludes, event.value, event.threshold) == (True, expected[1], 4)


@settings(max_examples=60, deadline=None)
@given(
    intro=st.lists(st.integers(0, 3), max_size=60),
    pattern=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    times=st.integers(1, 8),
)
def test_the_hash_finds_what_a_search_finds(intro: list[int], pattern: list[int], times: int) -> None:
    ids = intro + pattern * times
    monitor = Repetition(repeats=3, longest=12, shortest=6)
    tail = ids[-37:]
    found = [
        length
        for end in (tail, tail[:-1])
        for length in range(1, 13)
        if (span := max(3 * length, 6)) <= len(end) and end[-span:-length] == end[len(end) - span + length :]
    ]
    assert (monitor.watch(with_ids(ids)) is not None) == bool(found)


def test_words_take_the_place_of_ids() -> None:
    run = thinking("well " + "we have to look at it again and see " * 8)
    (event,) = replay(Repetition(), run)
    assert event.reason == "the last 9 tokens, 8 times in a row"
    assert replay(Repetition(), thinking("| - " * 80, "1/3 = 0." + "3" * 90, "")) == []


def test_a_loop_ends_where_another_engine_a_tool_or_a_told_event_stands() -> None:
    step = list(range(30))
    run = with_ids(*[step] * 4)
    assert len(replay(Repetition(), run)) == 1
    run.steps[1] = replace(run.steps[1], writer="large")
    assert replay(Repetition(), run) == []
    assert replay(Repetition(), agent(*[("lookup(a b c d e f g h i)", "busy " * 40)] * 9)) == []
    run = with_ids(*[step] * 9)
    assert [event.step for event in replay(Repetition(), run)] == [3, 7]
    assert replay(Repetition(), with_ids(*[step] * 5, window=2)) == []
    told = [Event("repetition", "", step=3)]
    assert replay(Repetition(), with_ids(*[step] * 7, window=4, events=told)) == []


def test_what_a_tool_says_again_and_again_is_not_the_engine_s() -> None:
    run = history(steps_of((StepKind.ACTION, "a()"), (StepKind.OBSERVATION, "no no no no " * 50)))
    assert replay(Repetition(), run) == []


@pytest.mark.parametrize("given", [{"repeats": 1}, {"longest": 0}, {"shortest": 1.5}])
def test_a_bad_option_is_named(given: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        Repetition(**given)
