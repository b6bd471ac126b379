"""When a run goes nowhere."""

from __future__ import annotations

import pytest

from orchestrator.errors import UnknownName
from orchestrator.monitors import MONITORS, Stalled, find
from orchestrator.types import History, Step, StepKind, Stop, Task


def history(*texts: str) -> History:
    steps = [
        Step(index=index, attempt=0, writer="small", text=text, num_tokens=1, stop=Stop.DELIMITER)
        for index, text in enumerate(texts)
    ]
    return History(task=Task.of("q"), engines=("small",), seed=0, steps=steps)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("a\n\n",), None),
        (("\n\n",), "the step is empty"),
        (("a\n\n", " \n\n"), "the step is empty"),
        (("a\n\n", "a\n\n"), "the step repeats the one before it"),
        (("a\n\n", "a"), "the step repeats the one before it"),
        (("a\n\n", "b\n\n", "a\n\n"), None),
    ],
)
def test_an_empty_step_and_an_exact_repeat_are_noticed(texts: tuple[str, ...], reason: str | None) -> None:
    event = Stalled().watch(history(*texts))
    assert (event and event.reason) == reason


def test_a_call_that_is_made_again_and_answered_the_same_is_no_end() -> None:
    turns = [(StepKind.ACTION, "<tool>see(a)</tool>"), (StepKind.OBSERVATION, "1")] * 9
    steps = [
        Step(index=index, attempt=0, writer="small", text=text, num_tokens=1, stop=Stop.END, kind=kind)
        for index, (kind, text) in enumerate(turns)
    ]
    for end in range(1, len(steps) + 1):
        assert Stalled().watch(History(task=Task.of("q"), engines=("small",), seed=0, steps=steps[:end])) is None


@pytest.mark.parametrize("name", MONITORS)
def test_a_monitor_is_found_by_name(name: str) -> None:
    assert find(name)() == find(name)()


def test_an_unknown_monitor_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownName, match=r"'nothing'; known: .*stalled"):
        find("nothing")
