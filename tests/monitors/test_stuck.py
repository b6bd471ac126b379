"""Loops are caught when they close, once, and healthy work is left alone."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest
from watched import agent, errand_turns, replay, thinking

from orchestrator.bench.workloads.expression import read_expression
from orchestrator.bench.workloads.random_calculation import calculations
from orchestrator.bench.workloads.solution import reason
from orchestrator.bench.workloads.tool_tasks import errands
from orchestrator.errors import UserError
from orchestrator.monitors import Stuck
from orchestrator.types import Event, History

BUSY = ("lookup(x)", "error: busy")
FRESH = [(f"lookup({name})", str(number)) for number, name in enumerate(("pen", "cup", "hat", "bag", "key"), 31)]
PHRASE = "and then we have to look at the other side of the coin before we can go on "


def moves_at(run: History) -> list[int]:
    """Return the moves, counted from 1, that an agent's run was found stuck behind."""
    return [event.step // 2 + 1 for event in replay(Stuck(), run)]


@pytest.mark.parametrize("times", [3, 4, 5])
def test_a_planted_loop_is_caught_at_its_third_round_and_told_of_once(times: int) -> None:
    run = agent(*FRESH[:2], *[BUSY] * times)
    (event,) = replay(Stuck(), run)
    assert event.step == 2 * 5 - 1
    assert event[:2] == ("stuck", "the same again: lookup(x) -> error: busy")
    assert (event.value, event.threshold) == (3, 3)
    assert not event.ends_run and not event.concludes


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([BUSY, BUSY], []),
        ([("lookup( x)", "error:  busy"), ("lookup( x )", "error: busy"), ("lookup(\nx )", "error: busy\n")], [3]),
        ([("run()", f"error: timeout after {n} s") for n in range(9)], [3]),
        ([(f"lookup({n})", f"error: no item '{n}'") for n in "abcd"], [3]),
        ([("fly()", "error: no tool fly"), ("go()", "error: busy"), ("do()", "error: malformed")], []),
        ([("fly()", "error: no"), ("fly()", "error: busy"), ("fly()", "error: malformed")], [3]),
        ([FRESH[0], FRESH[1]] * 2 + [FRESH[0]], []),
        ([FRESH[0], FRESH[1]] * 5, [6]),
        ([FRESH[0], FRESH[1], FRESH[2]] * 5, [9]),
        ([FRESH[0], FRESH[1], FRESH[2], FRESH[3]] * 4, [12]),
        ([(f"go({place})", "nothing happens here") for place in "abcdefghijkl"], [9]),
        ([("search(food in Rome)", f"{' '.join(f'hit{n}' for n in range(40))} at {t}") for t in range(6)], [3]),
    ],
    ids=["two", "white space", "clock in the error", "errors of a kind", "errors of three kinds", "errors of a call",
         "half a cycle", "cycle of 2", "cycle of 3", "nothing new", "nothing new from new calls", "nearly"],
)  # fmt: skip
def test_every_kind_of_loop_of_an_agent_is_caught_at_its_move(
    turns: list[tuple[str, str]], expected: list[int]
) -> None:
    assert moves_at(agent(*turns)) == expected


def test_the_same_call_is_the_same_whatever_is_said_before_it() -> None:
    turns = [(f"{why} <tool>lookup(x)</tool>", "31") for why in ("Look.", "Once more, to be sure.", "Again!", "So?")]
    assert moves_at(agent(*turns)) == [3]
    assert moves_at(agent(*[(f"Look. <tool>lookup({name})</tool>", "31") for name in "abcd"])) == []


def test_a_phrase_in_the_thought_before_a_call_is_told_of_once_behind_what_came_of_it() -> None:
    turns = [("so", "a()", "1"), (PHRASE * 5, "b()", "2"), (PHRASE * 6, "c()", "3"), ("done", "d()", "4")]
    assert moves_at(agent(*turns)) == [2]


def test_nothing_is_said_before_the_first_moves() -> None:
    run = agent(*[BUSY] * 8)
    for least in (1, 4, 7):
        (event,) = replay(Stuck(min_moves=least), run)
        assert event.step == 2 * max(least, 3) - 1
    assert replay(Stuck(min_moves=9), run) == []


def test_a_loop_that_comes_back_behind_something_new_is_told_of_again() -> None:
    assert moves_at(agent(*[BUSY] * 5, FRESH[0], *[BUSY] * 5)) == [3, 9]


def test_one_loop_of_forty_rounds_is_one_event() -> None:
    assert moves_at(agent(*[BUSY] * 40)) == [3]
    assert moves_at(agent(*[FRESH[0], FRESH[1]] * 40)) == [6]


def test_behind_a_hand_over_it_counts_from_zero_and_the_old_loop_does_not_count() -> None:
    told = [Event("stuck", "the same again", step=5)]
    for times, expected in ((2, []), (3, [8]), (6, [8])):
        run = agent(*[BUSY] * 3, *FRESH[:2], *[BUSY] * times, window=10, events=told)
        assert moves_at(run) == expected
    assert moves_at(agent(*[BUSY] * 5, window=8, events=told)) == []


def test_a_stuck_event_of_another_monitor_counts_as_told() -> None:
    run = agent(*[BUSY] * 4)
    run.events.append(Event("stuck", "a classifier says so", step=5))
    assert Stuck().watch(run) is None


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["so it is 5"] * 4, [2]),
        (["a b c d e f g h i j k", "a b c d e f g h i j k.", "A b c d e f g h i j k"], [2]),
        (["a b c d e f g h i j k 1", "a b c d e f g h i j k 2", "a b c d e f g h i j k 3"], []),
        (["start", PHRASE * 3], []),
        (["start", PHRASE * 4], [1]),
        (["start", PHRASE * 4, PHRASE * 6, PHRASE * 7], [1]),
        ([PHRASE * 4], []),
        (["start", "wait " * 20], [1]),
        (["start", "0 0 0 1 0 0 0 " * 20], []),
        (["start", "".join(f"If x is {n} then the rest is even, so we go on with the next. " for n in range(30))], []),
        (["start", ""], []),
    ],
    ids=["same", "nearly", "other numbers", "three phrases", "four phrases", "told once", "too early", "one word",
         "rows", "cases", "empty"],
)  # fmt: skip
def test_loops_of_words_are_caught_in_thoughts(texts: list[str], expected: list[int]) -> None:
    assert [event.step for event in replay(Stuck(), thinking(*texts))] == expected


HEALTHY = {
    "different arguments": [("lookup(pen)", "4"), ("lookup(cup)", "4"), ("lookup(hat)", "4"), ("lookup(bag)", "4")],
    "one transient error": [FRESH[0], ("lookup(cup)", "error: busy"), ("lookup(cup)", "12"), FRESH[1]],
    "two transient errors": [BUSY, BUSY, ("lookup(x)", "12"), BUSY, BUSY, ("lookup(x)", "12")],
    "a re-check": [FRESH[0], FRESH[1], FRESH[0], ("calc(31+32)", "63"), ("calc(31+32)", "63")],
    "progress": [("status()", f"{share}% of the files are done, please wait") for share in range(0, 100, 10)],
    "confirmations": [(f"write({name})", "ok") for name in "abcdefg"],
    "other operators": [("calc(5+3)", "8"), ("calc(5-3)", "2"), ("calc(5*3)", "15"), ("calc(5/3)", "1.67")],
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_work_of_agents_is_left_alone(name: str) -> None:
    assert moves_at(agent(*HEALTHY[name])) == []


@pytest.mark.parametrize(
    "texts",
    [
        [f"Compute 38*{n} = {38 * n} and write it down for the next step." for n in range(4, 14)],
        [f"Try {5} {sign} {3} as the first step of the way there." for sign in "+-*/"],
        ["38*4 = 152.", "Let me check: 38*4 = 152.", "Yes, 38*4 = 152.", "So the answer is 152."],
    ],
    ids=["other numbers", "other operators", "re-check"],
)
def test_healthy_thoughts_are_left_alone(texts: list[str]) -> None:
    assert replay(Stuck(), thinking(*texts)) == []


def test_two_hundred_generated_errands_are_left_alone() -> None:
    found = [moves_at(agent(*errand_turns(errand))) for errand in islice(errands("train", 1), 200)]
    assert sum(map(bool, found)) == 0


def test_two_hundred_generated_chains_of_thought_with_a_re_check_are_left_alone() -> None:
    for number, task in enumerate(islice(calculations("mid", "train", 1), 200)):
        steps = reason(read_expression(task.expression), Random(number), rechecks=1)
        assert replay(Stuck(), thinking(*[step.text for step in steps])) == []


def test_a_loop_planted_in_two_hundred_errands_is_caught_within_three_repeats() -> None:
    for errand in islice(errands("train", 2), 200):
        turns = errand_turns(errand)[:2]
        first = len(turns)
        (caught,) = moves_at(agent(*turns, *[("wait", "lookup(sock)", "error: busy")] * 4))
        assert first < caught <= first + 3


@pytest.mark.parametrize(
    "given",
    [
        {"repeats": 1},
        {"errors": 0},
        {"stale": 2.5},
        {"phrases": True},
        {"min_moves": 0},
        {"near": 0},
        {"near": float("nan")},
    ],
)
def test_a_bad_option_is_named(given: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        Stuck(**given)
