"""Ask an engine that was trained on a pair whether the larger one would write a better step than the draft.

It is a classifier of two labels behind /pooling that reads the published format of annotated.py; what it sees at the
end of the draft is the probability of the second label, "the larger engine's step would score higher". The
larger engine itself is not asked.

Source: Arbitrage, arXiv:2512.05033, and the authors' script (the last token's two logits, softmax, the second entry).
Differs: a classifier with any other number of labels raises SignalUnavailable (there the second entry is read
whatever it means); one with a single label is the good one of two, as every pooling engine here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import exp

from orchestrator.engines.base import Chain
from orchestrator.engines.scorers import ESCALATION, PLAIN
from orchestrator.engines.scorers.annotated import ids_of, pieces_of
from orchestrator.engines.scorers.base import Call, Scorer
from orchestrator.engines.scorers.judge import GREEDY
from orchestrator.engines.spec import EngineSpec
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Signal, Step, question_of

__all__ = ["Escalation", "escalation", "plain"]

LABELS = 2


@dataclass(frozen=True, kw_only=True)
class Escalation:
    """Scores a draft by P(the larger engine's step would be better): near 1 is for rewriting, near 0 for keeping."""

    engine: str
    history: bool = True
    """Whether it is told who wrote the earlier steps; as it was trained."""
    logprobs: int = LABELS

    @property
    def name(self) -> str:
        """What the trace calls it."""
        return ESCALATION if self.history else PLAIN

    async def score(self, engine: str, stream: StepStream, draft: Step, call: Call) -> Signal:
        """Return the probability. Raises SignalUnavailable if the engine answers with other than two labels."""
        kept = [(step.writer, step.text) for step in stream.steps]
        problem = question_of(stream.messages)
        pieces = pieces_of(problem, kept, (draft.writer, draft.text), history=self.history)
        ids = await ids_of(pieces, partial(stream.encoded, engine))
        reply = await call(engine, "judge", Chain(ids).prefix(), sampling=GREEDY, max_tokens=1, logprobs=LABELS)
        shares = {top.id: exp(top.logprob) for top in reply.logprobs[0].top} if reply.logprobs else {}
        if sorted(shares) != list(range(LABELS)):
            raise SignalUnavailable(self.name, _odd(engine, len(shares)))
        value = shares[1] / (shares[0] + shares[1])
        return Signal(
            name=self.name,
            value=value,
            raw=value,
            unit="probability",
            output_tokens=reply.output_tokens,
            seconds=reply.seconds,
        )


def _odd(engine: str, labels: int) -> str:
    if not labels:
        return f"engine {engine!r} named no labels: is it one of kind pooling?"
    return f"engine {engine!r} named {labels} labels; a trained router has {LABELS}, to keep and to escalate"


def escalation(engine: str, spec: EngineSpec) -> Scorer:
    """Return the scorer of an engine that was trained with the tags of the earlier steps."""
    return Escalation(engine=engine)


def plain(engine: str, spec: EngineSpec) -> Scorer:
    """Return the scorer of an engine that was trained without them."""
    return Escalation(engine=engine, history=False)
