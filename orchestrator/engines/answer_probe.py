"""Force the answer from a chain of thought: close the thought, open the answer, and read what comes.

What is computed for the chain is read from the engine's prefix cache, so a probe costs little more
than the tokens of the answer.

How sure the engine was is read from the tokens of the answer, the one with the brace that closes it
among them: that nothing follows is part of an answer, as 1 is none of 15.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from orchestrator.engines.base import Completion, Prefix
from orchestrator.engines.spec import ProbePrompt
from orchestrator.engines.step_stream import StepStream, is_open
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Sampling, Step, StepKind, Stop, TokenLogprob
from orchestrator.uncertainty import entropies, mean_logprob

__all__ = ["AnswerProbe", "Draw", "Said", "braced"]


class Draw(Protocol):
    """A metered, journaled, budgeted call of an engine that a string can end."""

    async def __call__(
        self,
        engine: str,
        purpose: str,
        prompt: Prefix,
        *,
        sampling: Sampling,
        max_tokens: int,
        stop: tuple[str, ...],
        logprobs: int = 0,
    ) -> Completion: ...


class Said(NamedTuple):
    """What one sample answered, and what that took."""

    answer: str | None
    """Up to the brace that closes the answer; None where that never came, or nothing stood before it."""
    output_tokens: int
    seconds: float
    logprob: float | None = None
    """Mean natural-log probability of the answer's tokens, <= 0; None without an answer, or without logprobs."""
    entropy: float | None = None
    """Sum of the entropies of its tokens over the alternatives shown, nats, >= 0: a lower bound. None as above."""


@dataclass(frozen=True, kw_only=True)
class AnswerProbe:
    """Asks an engine for its answer behind the kept steps and, where there is one, a draft."""

    prompt: ProbePrompt = field(default_factory=ProbePrompt)

    async def prefix(
        self, engine: str, stream: StepStream, draft: Step | None, *, to_step: int | None = None
    ) -> Prefix:
        """Return the prompt whose next tokens are the answer; with `to_step`, behind the steps before that one only.

        Raises SignalUnavailable inside a code fence or a tool call, where a thought cannot be closed.
        """
        if to_step is not None:
            stream = stream.up_to(to_step)
        last = draft or next(reversed(stream.steps), None)
        if last is not None and last.kind is not StepKind.OBSERVATION and is_open(last.text):
            raise SignalUnavailable("answers", "a code fence or a tool call is open there")
        prompt = await (stream.prefix(engine) if draft is None else stream.with_draft(engine, draft))
        is_thinking = stream.is_thinking(engine, behind=draft.text if draft else "")
        asked = self.prompt.closes + self.prompt.opens if is_thinking else self.prompt.opens
        return prompt.extended(await stream.words(engine, asked))

    async def sample(self, engine: str, prompt: Prefix, call: Draw, sampling: Sampling, *, logprobs: int = 0) -> Said:
        """Return one answer, and with `logprobs` alternatives per token how sure the engine was of it.

        An answer with braces in it takes a call for each that closes.
        """
        parts: list[Completion] = []
        left = self.prompt.max_tokens
        while True:
            part = await call(
                engine, "probe", prompt, sampling=sampling, max_tokens=left, stop=("}",), logprobs=logprobs
            )
            parts.append(part)
            left -= part.output_tokens
            answer = braced("".join(each.text for each in parts))
            if answer is not None or part.stop is not Stop.DELIMITER or left <= 0:
                break
            prompt = prompt.extended(part.ids)
        tokens, seconds = sum(each.output_tokens for each in parts), sum(each.seconds for each in parts)
        answer = (answer or "").strip() or None
        logprob, entropy = (None, None) if answer is None else _sureness(parts)
        return Said(answer, tokens, seconds, logprob, entropy)


def _sureness(parts: Sequence[Completion]) -> tuple[float | None, float | None]:
    """Return mean logprob and summed entropy of what was written; None for what the engine does not tell."""
    tokens: list[TokenLogprob] = [token for part in parts for token in part.logprobs or ()]
    if any(part.logprobs is None for part in parts):
        return None, None
    return _known(lambda: mean_logprob(tokens)), _known(lambda: float(entropies(tokens).lower.sum()))


def _known(read: Callable[[], float]) -> float | None:
    try:
        return read()
    except SignalUnavailable:
        return None


def braced(text: str) -> str | None:
    """Return what stands before the brace that closes one opened before `text`; None if it is never closed."""
    depth = 1
    for place, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return text[:place]
    return None
