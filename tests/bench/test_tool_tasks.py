"""Errands: the good worker always arrives, and the shop answers every call with text."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.bench.workloads import tool_tasks
from orchestrator.bench.workloads.tool_tasks import CALL, Errand, Shop


def work(errand: Errand) -> list[tuple[str, str]]:
    """The calls of the good worker with their observations."""
    shop, moves, log = errand.shop(), tool_tasks.plan(errand), []
    _, call = next(moves)
    while True:
        match = CALL.fullmatch(f"<tool>{call}</tool>")
        assert match is not None, call
        seen = shop.call(*match.groups())
        log.append((call, seen))
        try:
            _, call = moves.send(seen)
        except StopIteration:
            return log


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_the_good_worker_finds_the_answer_in_few_calls(seed: int) -> None:
    errand = next(tool_tasks.errands("train", seed))
    log = work(errand)
    assert log[-1][1] == errand.answer
    assert len(log) <= 9


def test_some_errands_meet_each_fault() -> None:
    seen = {text for errand in islice(tool_tasks.errands("train", 0), 300) for _, text in work(errand)}
    assert "error: busy" in seen
    assert any(text.startswith("error: no ") for text in seen)


@given(st.text(max_size=12), st.text(max_size=40))
def test_any_call_gets_an_observation(name: str, argument: str) -> None:
    assert isinstance(Shop({"pen": 3}).call(name, argument), str)


@pytest.mark.parametrize(
    "name, argument, seen",
    [
        ("calc", "3*(2+1)", "9"),
        ("calc", "import os", "error: not an expression"),
        ("lookup", "pen", "3"),
        ("lookup", "cup", "error: no cup, use cup4"),
        ("lookup", "car", "error: no car"),
        ("list", "", "pen 3, cup4 5"),
        ("convert", "3 km, m", "3000"),
        ("convert", "3 km, s", "error: no way from km to s"),
        ("convert", "3km", "error: write convert(amount unit, unit)"),
        ("pay", "3", "error: no tool pay"),
    ],
)
def test_calls_and_their_observations(name: str, argument: str, seen: str) -> None:
    assert Shop({"pen": 3, "cup4": 5}, {"cup": "cup4"}).call(name, argument) == seen


def test_a_busy_tool_is_busy_for_its_count() -> None:
    shop = Shop({"pen": 3}, busy={"lookup": 2})
    assert [shop.call("lookup", "pen") for _ in range(3)] == ["error: busy", "error: busy", "3"]


@pytest.mark.parametrize("text", ["<tool>calc(1+2)", "calc(1+2)", "<tool>Calc(1)</tool>", "<tool>calc 1</tool>"])
def test_what_is_no_call_does_not_parse(text: str) -> None:
    assert CALL.fullmatch(text) is None


def test_no_errand_is_in_two_splits() -> None:
    ids = {split: {e.id for e in islice(tool_tasks.errands(split, 0), 100)} for split in ("train", "report")}
    assert not ids["train"] & ids["report"]
