"""The exact check as a scorer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orchestrator.engines.scorers.verifier import Verifier
from orchestrator.engines.scripted import Scripted
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Message, Step, Stop

Seen = tuple[str, list[str], str]


def step(index: int, text: str) -> Step:
    return Step(index=index, attempt=0, writer="small", text=text, ids=(), num_tokens=1, stop=Stop.DELIMITER)


async def never(*_: object, **__: object) -> None:
    raise AssertionError("a verifier calls no engine")


def verifier(value: float, seen: list[Seen]) -> Verifier:
    def check(messages: Sequence[Message], kept: Sequence[str], draft: str) -> float:
        seen.append((messages[-1].content, list(kept), draft))
        return value

    return Verifier(check=check)


async def test_it_sees_the_task_the_kept_steps_and_the_draft_and_costs_nothing() -> None:
    stream = StepStream({"large": Scripted([])}, {"large": "utf-8"}, [Message("user", "2+2?")])
    stream.keep(step(0, "one\n\n"))
    seen: list[Seen] = []
    signal = await verifier(0.5, seen).score("large", stream, step(1, "two\n\n"), never)  # type: ignore[arg-type]
    assert seen == [("2+2?", ["one\n\n"], "two\n\n")]
    assert (signal.value, signal.raw, signal.output_tokens) == (0.5, 4.5, 0)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
async def test_what_is_no_share_is_no_score(value: float) -> None:
    stream = StepStream({"large": Scripted([])}, {"large": "utf-8"}, [Message("user", "2+2?")])
    with pytest.raises(SignalUnavailable, match="not in"):
        await verifier(value, []).score("large", stream, step(0, "x"), never)  # type: ignore[arg-type]
