"""Write every step twice, score both, and go on: runs that a router learns from.

The small engine drafts, the large one writes `samples` alternatives from the same prefix, and every candidate is
scored. What the run goes on with decides which prefixes are seen later, and so what can be learnt: after `better`
there is hardly ever a mistake in front of a draft, while a router that keeps drafts will meet its own mistakes, and
has to judge a step behind one. `mixed` shows both: each run draws a share of steps for the large engine, anywhere
from none to all, and each step is drawn with that share, however the candidates were scored.

Source: Arbitrage, arXiv:2512.05033, and the authors' collector (the trajectory goes on with the higher score, ties to
the draft; optionally a mean over several target samples). Differs: `mixed`, which they have not; a candidate with the
draft's own text is not scored again but has its score, so that two readings of one text can never differ; with more
than one sample the label is their mean, while the run goes on by the first alone, as a router's run would.
"""

from __future__ import annotations

from asyncio import gather
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.decisions import Decision, Plan, keep, rewrite
from orchestrator.doors import Ask, Needs
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.options import check_choice, check_whole
from orchestrator.routers.random import uniform
from orchestrator.routers.router_file import MAX_LOGPROBS, MAX_SAMPLES
from orchestrator.types import History, Signal, Step

__all__ = ["GO_ON", "Collect"]

GO_ON = ("better", "mixed")


@dataclass(frozen=True, kw_only=True)
class Collect:
    """Let both engines write every step, score both, and go on with one of them."""

    scorer: str = "prm"
    """Whose word says what is better."""
    also: tuple[str, ...] = ()
    """Scorers that are asked besides, to compare with or to learn from."""
    samples: int = 1
    """Alternatives of the large engine, >= 1."""
    go_on: Literal["better", "mixed"] = "better"
    logprobs: int = 5
    """Alternatives per token that the drafts carry; 0 for none."""
    seed: int = 0
    """Of what `mixed` draws."""

    def __post_init__(self) -> None:
        check_choice("collect", self, go_on=tuple(GO_ON))
        check_whole("collect", self, samples=1, logprobs=0)
        if self.samples > MAX_SAMPLES or self.logprobs > MAX_LOGPROBS:
            raise UserError(f"collect: at most {MAX_SAMPLES} samples and {MAX_LOGPROBS} logprobs, as router files have")
        if self.scorer in self.also:
            raise UserError(f"collect: scorer {self.scorer!r} is asked already, it need not be named besides")

    @property
    def needs(self) -> Needs:
        """Two engines, the larger of which draws its samples, whoever scores, and the drafts' logprobs."""
        scorers = (self.scorer, *self.also)
        return Needs(scorers=scorers, logprobs=self.logprobs, engines=2, samples=self.samples)

    def before_step(self, history: History) -> Plan:
        """Draft with the small engine."""
        return Plan(engine=history.small, logprobs=self.logprobs)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Have the alternatives written, score all, and choose what the run goes on with."""
        if draft.writer == history.large:
            return keep(reason="written by the large engine")
        targets = await gather(*(ask.alternative(history.large, draft, sample=each) for each in range(self.samples)))
        candidates = [draft, *(target for target in targets if target.text != draft.text)]
        for name in self.also:
            await gather(*(_score(ask, name, each) for each in candidates))
        scores = await gather(*(_score(ask, self.scorer, each) for each in candidates))
        if self.go_on == "mixed":
            return self._drawn(history)
        other = scores[1] if targets[0].text != draft.text else scores[0]
        return _better(history.large, scores[0], other)

    def _drawn(self, history: History) -> Decision:
        share = uniform(history.seed, self.seed, -1)
        drawn = uniform(history.seed, self.seed, len(history.steps))
        if drawn < share:
            return rewrite(history.large, reason=f"drew {drawn:.3f} < share {share:.3f}", alternatives=("keep",))
        return keep(reason=f"drew {drawn:.3f} >= share {share:.3f}", alternatives=("rewrite",))


def _better(large: str, ours: Signal | None, theirs: Signal | None) -> Decision:
    if ours is None or theirs is None or ours.value is None or theirs.value is None:
        return keep(reason="no score to compare: the draft goes on", alternatives=("rewrite",))
    margin = ours.value - theirs.value
    why: dict[str, Any] = {"threshold": theirs.value, "margin": margin}
    if margin >= 0:
        return keep(ours, theirs, reason="the draft is at least as good", alternatives=("rewrite",), **why)
    return rewrite(large, ours, theirs, reason="the large engine's step is better", alternatives=("keep",), **why)


async def _score(ask: Ask, name: str, step: Step) -> Signal | None:
    try:
        return await ask.score(name, step)
    except SignalUnavailable:
        return None  # the trace has the reason; a step without a score gives no row
