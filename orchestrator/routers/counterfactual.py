"""Any router, and for a sampled share of its steps what the other engine would have written in their place.

The router decides first, and its decision stands, whatever comes out: this only looks. Where it kept a draft,
the other engine writes the step too; where it let another engine write, that engine's step is asked for before
it is due, and then taken as it is. Both are scored where there is a scorer. The texts that are not kept are
discarded work, in the journal, the ledger and the budget like all other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from orchestrator.decisions import Decision, Keep, Plan, Rewrite, StopRun
from orchestrator.doors import Ask, Needs
from orchestrator.errors import EngineError, LimitExceeded, SignalUnavailable, UserError
from orchestrator.routers.base import draft_small, keep_all
from orchestrator.routers.random import uniform
from orchestrator.types import History, Step

__all__ = ["Counterfactual", "is_sampled"]


def is_sampled(seed: int, step: int, share: float) -> bool:
    """Return whether a step of the run with this seed is looked at; the same in a resumed or repeated run."""
    return uniform("counterfactual", seed, step) < share


@dataclass(frozen=True, kw_only=True)
class Counterfactual:
    """Decide as `router` does, and look at what else could have been written at a `share` of the steps."""

    router: Any
    share: float
    """In [0, 1]."""
    scorer: str = ""
    """Scores both steps; empty for nobody."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UserError(f"counterfactuals = {self.share!r} is not in [0, 1]")

    @property
    def needs(self) -> Needs:
        """What the router needs, two engines that continue steps, and the scorer."""
        own: Needs = getattr(self.router, "needs", Needs())
        scorers = tuple(dict.fromkeys([*own.scorers, *filter(None, [self.scorer])]))
        return replace(own, scorers=scorers, engines=max(2, own.engines), steps=True)

    def before_step(self, history: History) -> Plan | StopRun:
        """Plan as the router does."""
        planned: Plan | StopRun = getattr(self.router, "before_step", draft_small)(history)
        return planned

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Decide as the router does, then look."""
        decision: Decision = await getattr(self.router, "after_draft", keep_all)(history, draft, ask)
        if is_sampled(history.seed, len(history.steps), self.share):
            engine = _other(history, draft, decision)
            if engine is not None:
                await self._look(engine, draft, ask)
        return decision

    async def _look(self, engine: str, draft: Step, ask: Ask) -> None:
        """What cannot be had is in the trace as a failed call or a missing signal, and changes nothing."""
        try:
            other = await ask.alternative(engine, draft)
        except (EngineError, LimitExceeded):
            return
        for each in (draft, other) if self.scorer else ():
            try:
                await ask.score(self.scorer, each)
            except (SignalUnavailable, LimitExceeded):
                continue


def _other(history: History, draft: Step, decision: Decision) -> str | None:
    """Return who would have written the step had the decision been the other one; None where that says nothing."""
    if isinstance(decision, Keep | StopRun):
        return history.small if draft.writer == history.large else history.large
    if isinstance(decision, Rewrite) and decision.engine != draft.writer:
        return decision.engine
    return None
