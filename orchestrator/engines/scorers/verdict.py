"""Ask an engine whether what was done so far is right, with one of two words.

The question stands behind the kept steps, in the very prompt that the engine would continue: a verdict on a run that
goes on well costs one question and one word.

Source: the judge of StepWise's cascade for web agents (text only, one word, CORRECT or INCORRECT). Differs: the
wording is ours; it reads the whole run, with what the tools answered (there the steps since the last milestone, each
thought cut to 200 characters); the value is the share of the first word's probability where the engine shows any; an
answer that is neither word raises SignalUnavailable and the router decides what follows (there unclear is incorrect
and a failed call is correct).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import exp
from typing import Literal

from orchestrator.engines.base import Completion
from orchestrator.engines.scorers.base import Call
from orchestrator.engines.scorers.judge import GREEDY
from orchestrator.engines.spec import VerdictPrompt
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Signal, Step

__all__ = ["Verdict"]

TOP = 10
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Scores a run by P(right word) / (P(right word) + P(wrong word)), or by 1 and 0 for the word that was said.

    `share` reads the probabilities at the first token that tells the words apart, and the word itself where a reply
    comes without any; `word` asks for none.
    """

    name: str = "verdict"
    reading: Literal["share", "word"] = "share"
    engine: str | None = None
    """Who judges; None for the largest engine."""
    prompt: VerdictPrompt = field(default_factory=VerdictPrompt)

    @property
    def logprobs(self) -> int:
        """Alternatives per token the reading needs."""
        return TOP if self.reading == "share" else 0

    async def score(self, engine: str, stream: StepStream, draft: Step, call: Call) -> Signal:
        """Return the verdict on the run up to `draft`, which may be kept already."""
        ask = self.prompt
        prompt = await stream.with_draft(engine, draft)
        prompt = prompt.extended(await stream.interject(engine, ask.question, ask.prefill, think=ask.think))
        reply = await call(engine, "judge", prompt, sampling=GREEDY, max_tokens=ask.max_tokens, logprobs=self.logprobs)
        said = self._said(reply.text)
        share = self._share(reply)
        return Signal(
            name=self.name,
            value=float(said) if share is None else share,
            raw=float(said) if share is None else share,
            unit="word" if share is None else "probability",
            output_tokens=reply.output_tokens,
            seconds=reply.seconds,
        )

    def _said(self, text: str) -> bool:
        """Return whether the reply is the right word. Raises SignalUnavailable if it is not just one of the two."""
        right, wrong = self.prompt.right.casefold(), self.prompt.wrong.casefold()
        words: list[str] = _WORD.findall(text.casefold())
        if not words or words[0] not in (right, wrong) or {right, wrong} <= set(words):
            neither = f"neither {self.prompt.right} nor {self.prompt.wrong}"
            raise SignalUnavailable(self.name, f"the engine answered {text[:20]!r}, {neither}")
        return words[0] == right

    def _share(self, reply: Completion) -> float | None:
        """Return the right word's share at the first token where the words part; None if no token shows that."""
        said = ""
        for token in reply.logprobs or ():
            weights = {True: 0.0, False: 0.0}
            for each in token.top:
                if (means := self._begins(said + each.text)) is not None:
                    weights[means] += exp(each.logprob)
            if total := sum(weights.values()):
                return weights[True] / total
            said += token.text
        return None

    def _begins(self, text: str) -> bool | None:
        """Return whether `text` begins, or begins with, the right word (True) or the wrong one; None: both or none."""
        text = text.strip().casefold()
        right, wrong = (
            bool(text) and (word.startswith(text) or text.startswith(word))
            for word in (self.prompt.right.casefold(), self.prompt.wrong.casefold())
        )
        return None if right == wrong else right
