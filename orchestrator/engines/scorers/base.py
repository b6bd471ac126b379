"""What a scorer is: a prompt's draft in, a number in [0, 1] and its cost out."""

from __future__ import annotations

from typing import Protocol

from orchestrator.engines.base import Completion, Prefix
from orchestrator.engines.step_stream import StepStream
from orchestrator.types import Sampling, Signal, Step

__all__ = ["Call", "Scorer"]


class Call(Protocol):
    """A metered, journaled, budgeted call of an engine; the only way a scorer reaches one."""

    async def __call__(
        self, engine: str, purpose: str, prompt: Prefix, *, sampling: Sampling, max_tokens: int, logprobs: int = 0
    ) -> Completion: ...


class Scorer(Protocol):
    """Something that measures drafts."""

    @property
    def engine(self) -> str | None:
        """The engine it asks; None where it asks none, or the largest of the pipeline is meant."""

    @property
    def logprobs(self) -> int:
        """Alternatives per token it needs from that engine; 0 for none."""

    async def score(self, engine: str, stream: StepStream, draft: Step, call: Call) -> Signal:
        """Measure `draft` as the next step of `stream`, asking `engine`.

        Raises SignalUnavailable where there is no honest value.
        """
        ...
