"""Ask an engine that was trained to measure how good the last step is: a process reward model.

What a pooling engine answers are probabilities of classes, worst first. One rule reads them all: the
mean class, as a share of the last one. Of two classes, bad and good, that is the probability of the good
one; of ten, it is the mean of a rating in digits.

Source: RSD, arXiv:2501.19324, and Arbitrage, arXiv:2512.05033, with their code: the reward model reads the problem, a
line break and the steps, each closed by the step token; the sigmoid at the last step's end is the draft's score.
Differs:
- the prompt is the one that an engine with the reward model's tokenizer would continue: its own chat template around
  the task, then the kept steps and the draft with their delimiters. Where a `step_tag` is named it closes each step;
- what the server's head answers is read as probabilities: two classes or more are reduced to their mean;
- a question may be asked behind the draft (`prompt`), for engines that were trained to rate and not to reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from orchestrator.engines.scorers import PRM
from orchestrator.engines.scorers.base import Call, Scorer
from orchestrator.engines.scorers.judge import GREEDY, Judge
from orchestrator.engines.spec import POOLING, EngineSpec, JudgePrompt
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.types import Signal, Step

__all__ = ["Reward", "prm"]


@dataclass(frozen=True, kw_only=True)
class Reward:
    """Scores a draft by the classes that a pooling engine sees at the end of it; `raw` is that in digits, 0 to 9."""

    name: str = PRM
    engine: str
    prompt: JudgePrompt | None = None
    """What is asked behind the draft; None for nothing, as most reward models are read."""
    logprobs: int = 1

    async def score(self, engine: str, stream: StepStream, draft: Step, call: Call) -> Signal:
        """Return the mean class. Raises SignalUnavailable if the engine answers without classes."""
        prompt = await stream.with_draft(engine, draft)
        if ask := self.prompt:
            prompt = prompt.extended(await stream.interject(engine, ask.question, ask.prefill, think=ask.think))
        reply = await call(engine, "judge", prompt, sampling=GREEDY, max_tokens=1, logprobs=self.logprobs)
        weights = {top.id: exp(top.logprob) for top in reply.logprobs[0].top} if reply.logprobs else {}
        if sorted(weights) != list(range(len(weights))) or len(weights) < 2:
            raise SignalUnavailable(self.name, f"engine {engine!r} named no classes: is it one of kind pooling?")
        mean = sum(class_ * weight for class_, weight in weights.items()) / sum(weights.values())
        value = min(1.0, mean / (len(weights) - 1))  # rounding may have put it above the last class
        return Signal(
            name=self.name,
            value=value,
            raw=9 * value,
            unit="digit 0-9",
            output_tokens=reply.output_tokens,
            seconds=reply.seconds,
        )


def prm(engine: str, spec: EngineSpec) -> Scorer:
    """Return the scorer of an engine that only measures: its classes where it pools, else the mean of its digits.

    Raises UserError for one that measures something else.
    """
    if spec.measures != PRM:
        raise UserError(f"engine {engine!r} measures {spec.measures!r}, which does not tell how good a step is")
    if spec.kind == POOLING:
        return Reward(engine=engine, prompt=spec.judge)
    return Judge(name=PRM, reading="average", engine=engine, prompt=spec.judge or JudgePrompt())
