"""Let a pipeline's judges rate a right and a wrong step: one that rates both alike decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.doors import Needs
from orchestrator.engines.base import Completion, Prefix, Request
from orchestrator.engines.scorers.judge import Judge
from orchestrator.engines.scorers.reward import Reward
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Message, Sampling, Step, Stop

if TYPE_CHECKING:
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["ALIKE", "Discerned", "advice", "discern"]

ALIKE = 0.05
"""Ratings that differ by less, in digits 0-9, tell nothing apart: the mean over the digits is never quite equal."""

_TASK = (Message("user", "Compute 12 + 7 - 4."),)
_BEFORE, _RIGHT, _WRONG = "12+7-4\n\n", "12+7=19\n19-4\n\n", "12+7=91\n91-4\n\n"


class Discerned(NamedTuple):
    """What a judge made of the two steps."""

    scorer: str
    engine: str
    right: float | None
    """Its rating of the right step, in digits 0-9; None if one of the two could not be had."""
    wrong: float | None
    reason: str = ""
    """Why a rating could not be had, or empty."""
    is_greedy: bool = False
    """It reads one digit, where the mean over the digits may tell more."""

    @property
    def is_blind(self) -> bool:
        """Both were rated, and alike."""
        return self.right is not None and self.wrong is not None and abs(self.right - self.wrong) < ALIKE

    @property
    def flaw(self) -> str:
        """What is wrong with the two ratings and what to try, or empty."""
        if self.right is None or self.wrong is None:
            return ""
        if self.is_blind:
            return f"alike: {advice(is_greedy=self.is_greedy)}"
        if self.right < self.wrong:
            return f"it rates the wrong step higher: {advice(is_greedy=self.is_greedy)}"
        return ""


def advice(*, is_greedy: bool) -> str:
    """Return what to do about ratings that tell nothing; `is_greedy` says that one digit of each was read."""
    return "such ratings decide nothing; try " + ("reading=average or another judge" if is_greedy else "another judge")


async def discern(pipeline: Pipeline) -> AsyncIterator[Discerned]:
    """Let each judge that the router asks rate both steps, laid out as in a run.

    Raises EngineError, or MissingCapability if the engines cannot do what the router needs.
    """
    await pipeline.start()
    for name in getattr(pipeline.router, "needs", Needs()).scorers:
        judge = pipeline.scorers[name]
        if isinstance(judge, Judge | Reward):
            engine = judge.engine or pipeline.writers[-1]
            try:
                right, wrong = [await _rating(pipeline, judge, engine, draft) for draft in (_RIGHT, _WRONG)]
            except SignalUnavailable as missing:
                yield Discerned(name, engine, None, None, missing.reason)
            else:
                is_greedy = isinstance(judge, Judge) and judge.reading == "greedy"
                yield Discerned(name, engine, right, wrong, is_greedy=is_greedy)


async def _rating(pipeline: Pipeline, judge: Judge | Reward, engine: str, draft: str) -> float | None:
    async def call(
        engine: str, purpose: str, prompt: Prefix, *, sampling: Sampling, max_tokens: int, logprobs: int = 0
    ) -> Completion:
        request = Request(
            prompt=prompt, sampling=sampling, max_tokens=max_tokens, seed=0, purpose=purpose, logprobs=logprobs
        )
        return await pipeline.engines[engine].complete(request)

    tokenizers = {name: can.tokenizer for name, can in (await pipeline.start()).items()}
    stream = StepStream(pipeline.engines, tokenizers, _TASK, think=pipeline.thinks)
    stream.keep(_step(0, engine, _BEFORE))
    return (await judge.score(engine, stream, _step(1, engine, draft), call)).raw


def _step(index: int, writer: str, text: str) -> Step:
    return Step(index=index, attempt=0, writer=writer, text=text, num_tokens=1, stop=Stop.DELIMITER)
