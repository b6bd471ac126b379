"""What the router says about a draft, asked once and recorded."""

from __future__ import annotations

from orchestrator.decisions import Conclude, Decision, Handback, Rollback, keep, rewrite
from orchestrator.errors import EngineError, SignalUnavailable, UserError
from orchestrator.runtime.alternative import adopting
from orchestrator.runtime.ask import DraftAsk
from orchestrator.runtime.decisions import check_engine, handing_over, record
from orchestrator.runtime.interrupts import door
from orchestrator.runtime.lasting import reachable
from orchestrator.runtime.run import Run
from orchestrator.types import Step

__all__ = ["decide", "unmeasured"]


async def decide(run: Run, draft: Step) -> Decision:
    """Return what the router says about `draft`, and record it."""
    stored = run.stored.decisions.get((draft.index, draft.attempt, "after_draft"))
    if stored is not None:
        return stored
    try:
        with door(run.doors.policy):
            decision = await run.doors.after_draft(run.history, draft, DraftAsk(run, run.scorers))
    except (SignalUnavailable, EngineError) as missing:
        decision = unmeasured(run.history.large, draft, missing)
    if not isinstance(decision, Decision):
        raise UserError(f"{run.doors.policy} answered {decision!r}, not a decision: return keep(), rewrite(...), ...")
    if isinstance(decision, Handback | Conclude):
        raise UserError(f"{run.doors.policy} answered {decision.action} about a draft: that is for on_events")
    check_engine(run, getattr(decision, "engine", None))
    if isinstance(decision, Rollback):
        decision = reachable(run, decision)
    decision = handing_over(run, adopting(run, draft, decision))
    record(run, draft.attempt, "after_draft", decision)
    return decision


def unmeasured(large: str, draft: Step, missing: SignalUnavailable | EngineError) -> Decision:
    """Return what happens to a draft whose router did not say what to do without what it asked for.

    That is a signal, or an alternative.
    """
    if draft.writer == large:
        return keep(reason=f"{missing}: kept, it is the large engine's")
    return rewrite(large, reason=f"{missing}: rejected")
