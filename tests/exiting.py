"""A thought for exits to look at, and an engine's forced answers and verdicts from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.doors import Choice, Trial
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Event, History, Mode, Step, StepKind, Stop, Task

__all__ = ["Answers", "history", "step", "watch"]


def step(index: int, text: str, *, kind: StepKind = StepKind.THOUGHT, stop: Stop = Stop.DELIMITER) -> Step:
    """A step of ten tokens by `small`."""
    return Step(index=index, attempt=0, writer="small", text=text, num_tokens=10, stop=stop, kind=kind)


def history(*texts: str, mode: Mode | None = None, window: int = 0) -> History:
    """A history of thoughts, one per text."""
    steps = [step(index, text) for index, text in enumerate(texts)]
    tokens = 10 * len(steps)
    return History(
        task=Task.of("q"),
        engines=("small", "large"),
        seed=0,
        steps=steps,
        num_tokens=tokens,
        thought_tokens=tokens,
        mode=mode,
        window=window,
    )


class Answers:
    """What engines say when asked: forced answers by the number of the look, verdicts by the answer compared."""

    def __init__(self, *looks: Sequence[Trial], verdicts: Mapping[str, str] | None = None) -> None:
        self.looks = list(looks)
        self.verdicts = verdicts
        self.asked: list[tuple[str, int]] = []
        self.questions: list[str] = []

    async def trials(self, engine: str, draft: Step | None = None, *, num: int = 1) -> list[Trial]:
        assert draft is None
        self.asked.append((engine, num))
        return list(self.looks.pop(0))

    async def choose(self, engine: str, question: str, words: Sequence[str], *, of_task: bool = True) -> Choice:
        assert tuple(words) == ("yes", "no") and not of_task
        self.questions.append(question)
        if self.verdicts is None:
            raise SignalUnavailable("choice", "the verifier is away")
        return Choice(next(word for text, word in self.verdicts.items() if f"Second: {text}\n" in question), 0.9)


async def watch(exit: Any, texts: Sequence[str], ask: Any, **about: Any) -> tuple[list[Event], int]:
    """Let an exit look behind each text as a run would; return its events and the number of steps that were kept."""
    told: list[Event] = []
    for end in range(1, len(texts) + 1):
        now = history(*texts[:end], **about)
        now.events = list(told)
        before = list(now.steps)
        event = await exit.look(now, ask)
        assert now.steps == before  # nothing that was asked is part of the history
        if event is not None:
            told.append(event._replace(step=end - 1))
            if event.concludes:
                return told, end
    return told, len(texts)
