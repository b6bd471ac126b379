"""Ask an engine to rate the last step with one digit.

The question is appended to the very prompt that the engine would continue if the draft were kept:
what it computes to judge a good draft it need not compute again to go on from it.

Source: SpecReason, arXiv:2504.07891 and the authors' script (one token, temperature 0, digit 0-9;
`average` is the probability-weighted mean over the digits among the 10 most likely tokens).
Differs: the wording is ours; an answer that is no digit, or a reading without logprobs, raises
SignalUnavailable (the script scores it 0) and the router decides what follows; logprobs are asked
for only where they are read (the script always asks).

Measured on vLLM 0.32: `--reasoning-parser` changes nothing of /v1/completions, which our engine uses; behind
/v1/chat/completions it takes everything before `</think>` out of the text, a rating among it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp
from typing import Literal

from orchestrator.engines.base import Completion
from orchestrator.engines.scorers.base import Call
from orchestrator.engines.spec import JudgePrompt
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Sampling, Signal, Step

__all__ = ["GREEDY", "Judge", "average"]

GREEDY = Sampling(temperature=0.0, top_p=1.0)
TOP = 10


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Scores a draft digit / 9.

    `greedy` reads the emitted token; `average` weighs the digits among the most likely tokens by
    their probabilities, renormalised over the digits.
    """

    name: str = "judge"
    reading: Literal["greedy", "average"] = "greedy"
    engine: str | None = None
    """Who judges; None for the largest engine."""
    prompt: JudgePrompt = field(default_factory=JudgePrompt)

    @property
    def logprobs(self) -> int:
        """Alternatives per token the reading needs."""
        return TOP if self.reading == "average" else 0

    async def score(self, engine: str, stream: StepStream, draft: Step, call: Call) -> Signal:
        """Return the rating; `raw` is in digits, 0 to 9."""
        ask = self.prompt
        prompt = await stream.with_draft(engine, draft)
        prompt = prompt.extended(await stream.interject(engine, ask.question, ask.prefill, think=ask.think))
        reply = await call(engine, "judge", prompt, sampling=GREEDY, max_tokens=1, logprobs=self.logprobs)
        digit = (_emitted if self.reading == "greedy" else _weighted)(self.name, reply)
        return Signal(
            name=self.name,
            value=digit / 9,
            raw=digit,
            unit="digit 0-9",
            output_tokens=reply.output_tokens,
            seconds=reply.seconds,
        )


def average(prompt: JudgePrompt = JudgePrompt()) -> Judge:  # noqa: B008 - frozen
    """Return the judge that reads the probability-weighted mean of the digits."""
    return Judge(reading="average", prompt=prompt)


def _digit(text: str) -> int | None:
    text = text.strip()
    return int(text) if len(text) == 1 and text in "0123456789" else None


def _emitted(name: str, reply: Completion) -> float:
    digit = _digit(reply.text)
    if digit is None and not reply.text and reply.output_tokens:
        what = "the judge wrote a token and nothing of it is in the text"
        raise SignalUnavailable(
            name, f"{what}: it is an end-of-text or other special one, or the server's reasoning parser keeps it"
        )
    if digit is None:
        raise SignalUnavailable(name, f"the judge answered {reply.text[:20]!r}, not a digit")
    return digit


def _weighted(name: str, reply: Completion) -> float:
    if not reply.logprobs:
        raise SignalUnavailable(name, "the engine returned no logprobs")
    weights = [(digit, exp(top.logprob)) for top in reply.logprobs[0].top if (digit := _digit(top.text)) is not None]
    total = sum(weight for _, weight in weights)
    if not total > 0:
        raise SignalUnavailable(name, f"no digit among the {TOP} most likely tokens")
    return sum(digit * weight for digit, weight in weights) / total
