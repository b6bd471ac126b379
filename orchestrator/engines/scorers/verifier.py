"""Ask a function whether the last step is right: exact, free, and no engine is called.

It is what a judge or a process reward model would be if it never erred. A policy that misses its
bar with a trained judge and meets it with this one has a judge to mend, not a policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from orchestrator.engines.scorers.base import Call
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Message, Signal, Step

__all__ = ["Check", "Verifier"]

Check = Callable[[Sequence[Message], Sequence[str], str], float]
"""The task's messages, the texts of the kept steps, the draft's text -> how right the draft is, in [0, 1].

Raises SignalUnavailable where it cannot tell."""


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """Scores a draft by calling `check`; `raw` is the same on the judge's scale, in digits 0 to 9."""

    check: Check
    engine: str | None = None
    logprobs: int = 0

    async def score(self, engine: str, stream: StepStream, draft: Step, call: Call) -> Signal:
        """Return what the function says. Raises SignalUnavailable if that is no number in [0, 1]."""
        started = perf_counter()
        value = self.check(stream.messages, [step.text for step in stream.steps], draft.text)
        if not 0 <= value <= 1:
            raise SignalUnavailable("verifier", f"it answered {value!r}, which is not in [0, 1]")
        seconds = perf_counter() - started
        return Signal(name="verifier", value=value, raw=9 * value, unit="digit 0-9", seconds=seconds)
