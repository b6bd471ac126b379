"""What modes see in tests: histories, how runs ended, and an ask that answers from a table and notes who was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.doors import Choice, Trial
from orchestrator.errors import SignalUnavailable
from orchestrator.types import History, Mode, Outcome, Signal, Status, Step, Stop, Task

QUESTION = "What is 12+30?"


def history(
    *steps: str,
    mode: Mode | None = None,
    lengths: Mapping[str, Any] | None = None,
    question: str = QUESTION,
    seed: int = 7,
    writer: str = "small",
) -> History:
    return History(
        task=Task.of(question),
        engines=("small", "large"),
        seed=seed,
        steps=[
            Step(index=index, attempt=0, writer=writer, text=text, num_tokens=len(text), stop=Stop.END)
            for index, text in enumerate(steps)
        ],
        lengths=lengths or {},
        mode=mode,
    )


def outcome(
    reward: float | None = 1.0,
    thought_tokens: int = 100,
    *,
    question: str = QUESTION,
    mode: str = "think",
    is_late: bool = False,
) -> Outcome:
    return Outcome(
        run_id="r",
        status=Status.COMPLETED,
        engines=("small", "large"),
        decisions=(),
        writers=("small",),
        failed=(),
        seconds=1.0,
        output_tokens={},
        cost={},
        reward=reward,
        is_late=is_late,
        mode=mode,
        thought_tokens=thought_tokens,
        question=question,
    )


def trials(*answers: str | None, logprob: float | None = None) -> list[Trial]:
    return [Trial(answer, None if answer is None else logprob) for answer in answers]


class Table:
    """Answers from what it is given; what it is not given is unavailable."""

    def __init__(
        self,
        trials: Sequence[Trial] | None = None,
        scores: Mapping[str, float] | None = None,
        choice: Choice | None = None,
    ) -> None:
        self.given, self.scores, self.choice = trials, scores or {}, choice
        self.asked: list[tuple[Any, ...]] = []

    async def trials(
        self, engine: str, draft: Step | None = None, *, before: Step | None = None, num: int = 1
    ) -> list[Trial]:
        self.asked.append((engine, before and before.index, num))
        if self.given is None:
            raise SignalUnavailable("answers", "a code fence is open there")
        return list(self.given[:num])

    async def score(self, name: str, draft: Any) -> Any:
        self.asked.append((name, draft.text))
        if name not in self.scores:
            raise SignalUnavailable(name, "nobody knows")
        return Signal(name=name, value=self.scores[name])

    async def choose(self, engine: str, question: str, words: Sequence[str], *, of_task: bool = True) -> Choice:
        self.asked.append((engine, question, tuple(words)))
        if self.choice is None:
            raise SignalUnavailable("choice", "none of the words")
        return self.choice
