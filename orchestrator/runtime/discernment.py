"""Let a pipeline's judges rate a right and a wrong step: one that rates both alike decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from orchestrator.engines.base import Completion, Prefix, Request
from orchestrator.engines.scorers.judge import Judge
from orchestrator.engines.scorers.reward import Reward
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable
from orchestrator.routers.base import Needs
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Message, Sampling, Step, Stop

__all__ = ["Discerned", "discern"]

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

    @property
    def is_blind(self) -> bool:
        """Both were rated, and alike."""
        return self.right is not None and self.right == self.wrong


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
                yield Discerned(name, engine, right, wrong)


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
