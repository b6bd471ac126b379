"""What several policies share: who writes in a rejected draft's place, and what a draft without a reading gets.

With two engines both targets are the same. With more, `largest` goes to the last engine at once and `next` to the one
after the draft's writer. What was rewritten stands: no policy measures it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal

from orchestrator.decisions import Decision, Keep, Rewrite, keep, rewrite, stop
from orchestrator.doors import Ask
from orchestrator.errors import EngineError, SignalUnavailable
from orchestrator.types import History, Signal, Status, Step

__all__ = [
    "ON_UNREADABLE",
    "TARGETS",
    "OnUnreadable",
    "Target",
    "climb",
    "digits",
    "target",
    "unread",
    "verdict",
]

OnUnreadable = Literal["reject", "accept", "stop"]
Target = Literal["largest", "next"]
ON_UNREADABLE = ("reject", "accept", "stop")
TARGETS = ("largest", "next")


def target(history: History, writer: str, to: Target) -> str | None:
    """Return who writes in the place of what `writer` wrote; None if that is the largest engine."""
    if writer == history.large:
        return None
    place = history.engines.index(writer)
    return history.large if to == "largest" else history.engines[place + 1]


def unread(engine: str, why: SignalUnavailable, then: OnUnreadable, threshold: float | None = None) -> Decision:
    """Return what a draft gets whose reading is missing, the reason told; a rejected one goes to `engine`."""
    reason = f"no reading of {why.name} ({why.reason}): {then}"
    if then == "accept":
        return keep(reason=reason, threshold=threshold, alternatives=("rewrite",))
    if then == "stop":
        return stop(status=Status.FAILED, reason=reason, threshold=threshold)
    return rewrite(engine, reason=reason, threshold=threshold, alternatives=("keep",))


def verdict(
    engine: str, *signals: Signal, stands: bool, reason: str, threshold: float | None, margin: float | None
) -> Decision:
    """Return what a reading makes of a draft: it stands, or `engine` writes in its place; either could have been."""
    if stands:
        return keep(*signals, reason=reason, threshold=threshold, margin=margin, alternatives=("rewrite",))
    return rewrite(engine, *signals, reason=reason, threshold=threshold, margin=margin, alternatives=("keep",))


def digits(rating: Signal) -> float:
    """Return a score in digits, 0 to 9: as it was read where it was read in digits, else nine times its value."""
    return rating.raw if rating.raw is not None else 9 * (rating.value or 0.0)


async def climb(history: History, draft: Step, ask: Ask, gate: Callable[[Step], Awaitable[Decision]]) -> Decision:
    """Let each engine above the draft's writer try in turn, until `gate` keeps what it wrote; the last is not gated.

    `gate` decides about one candidate. Where it says anything but keep or rewrite, that is the decision.
    """
    signals: tuple[Signal, ...] = ()
    decision = await gate(draft)
    for engine in history.engines[history.engines.index(draft.writer) + 1 : -1]:
        if not isinstance(decision, Rewrite):
            break
        signals, decision = (*signals, *decision.signals), replace(decision, signals=())
        try:
            candidate = await ask.alternative(engine, draft)
        except EngineError as error:
            decision = rewrite(history.large, reason=f"engine {engine!r} could not try: {error}")
            continue
        decision = await gate(candidate)
        if isinstance(decision, Keep):
            return rewrite(
                engine,
                *signals,
                *decision.signals,
                reason=f"{engine} passes: {decision.reason}",
                threshold=decision.threshold,
                margin=decision.margin,
                alternatives=decision.alternatives,
            )
    return replace(decision, signals=(*signals, *decision.signals)) if isinstance(decision, Rewrite) else decision
