"""First tries by kind of task: made until none stands, and again once in a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from asked import Table, history, outcome

from orchestrator.errors import UserError
from orchestrator.modes import FirstTryByKind, auto
from orchestrator.modes.by_kind import RETRY
from orchestrator.modes.fixed import NO_THINK, THINK
from orchestrator.types import Status

HARD = "What is 1+2*3?"
POLICY = FirstTryByKind(patience=3)


def taught(*modes: str, state: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """Return what runs of one kind teach that ended in these modes."""
    state = state or {}
    for mode in modes:
        state = POLICY.after_run(outcome(None, mode=mode, question=HARD), state)
    return state


@pytest.mark.parametrize(
    ("modes", "mode"),
    [
        ((), NO_THINK),
        (("think",) * 2, NO_THINK),
        (("think",) * 3, THINK),  # exactly as many
        (("think", "think", "no_think", "think", "think"), NO_THINK),
        (("no_think", "think", "think", "think"), THINK),
    ],
)
async def test_no_first_try_is_made_after_so_many_thoughts_in_a_row(modes: tuple[str, ...], mode: Any) -> None:
    found = await POLICY.choose(history(question=HARD, lengths=taught(*modes)), Table())
    assert found.mode == mode
    assert (found.margin is not None and found.margin <= 0) == (mode == THINK)


async def test_what_one_kind_taught_is_not_known_of_another() -> None:
    state = taught(*["think"] * 3)
    assert (await POLICY.choose(history(question="Compute 7 * 8 - 9.", lengths=state), Table())).mode == THINK
    assert (await POLICY.choose(history(question="What is 1+2?", lengths=state), Table())).mode == NO_THINK


async def test_a_kind_that_is_thought_about_is_tried_again_now_and_then_and_opens_when_that_stands() -> None:
    state, tried = taught(*["think"] * 3), []
    for place in range(2 * RETRY):
        mode = (await POLICY.choose(history(question=HARD, lengths=state), Table())).mode
        tried += [place] * (mode == NO_THINK)
        state = taught("think", state=state)
    assert tried == [RETRY - 1, 2 * RETRY - 1]
    state = taught("no_think", state=state)
    assert (await POLICY.choose(history(question=HARD, lengths=state), Table())).mode == NO_THINK


@pytest.mark.parametrize(
    "nothing",
    [
        outcome(1.0, mode="think", is_late=True),
        outcome(None, mode=""),
        replace(outcome(None, mode="think"), status=Status.FAILED),
    ],
)
def test_a_run_that_was_cut_short_or_is_told_of_twice_teaches_nothing(nothing: Any) -> None:
    assert POLICY.after_run(nothing, {}) == {}


async def test_its_first_try_is_judged_by_the_gate() -> None:
    found = await FirstTryByKind(gate="judge", threshold=0.7).reconsider(
        history("12+30=42", mode=NO_THINK), "42", Table(scores={"judge": 0.6})
    )
    assert found.mode.name == "think"


@pytest.mark.parametrize("options", [{"patience": 0}, {"similar": "colour"}, {"threshold": 1.5}, {"gate": ""}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        FirstTryByKind(**options)


def test_auto_finds_it_by_its_sign() -> None:
    assert auto("kind", threshold=0.8) == FirstTryByKind(threshold=0.8)
    with pytest.raises(UserError, match="auto: kind asks nobody"):
        auto("kind", engine="large")
