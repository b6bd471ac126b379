"""Decisions on their way to the journal and back: what each kind of them says besides its reason."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from json import dumps, loads
from time import time
from typing import Any, cast

from orchestrator.decisions import Conclude, Decision, Handback, Handoff, Keep, Rewrite, Rollback, StopRun
from orchestrator.errors import UnknownName, UserError
from orchestrator.memory.base import DecisionRow, EventRow
from orchestrator.runtime.alternative import Adopt
from orchestrator.runtime.run import Forced, Run
from orchestrator.types import Signal, Status

__all__ = [
    "CONSTANT",
    "Approve",
    "Deny",
    "Exited",
    "Moded",
    "Planned",
    "check_engine",
    "decision_of",
    "forced_by",
    "handing_over",
    "record",
    "record_once",
]

CONSTANT = "constant"
"""Kind of the event that says that a scorer, or a prediction, reads the same again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(Decision):
    """What the journal keeps of a Plan that gives a reason, or changes how steps are written."""

    action = "plan"
    engine: str
    max_tokens: int | None = None
    logprobs: int = 0
    whole: bool = False
    lead: str = ""
    features: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moded(Decision):
    """A mode was chosen: how much to think from here on."""

    action = "mode"
    mode: dict[str, Any]
    """The fields of a types.Mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited(Conclude):
    """A thought was closed before its engine closed it."""

    thought: int
    """Tokens of thought until then."""
    at_most: int | None
    """Tokens that the budgets left for more of it: no exit saves more. None without a budget."""
    usual: float | None
    """Tokens of thought that similar tasks took, None where nobody knows: what is above `thought` was saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve(Decision):
    """A person lets a tool be called."""

    action = "approve"
    tool: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny(Decision):
    """A tool is not called; the engine is told why."""

    action = "deny"
    tool: str = ""


def handing_over(run: Run, decision: Decision) -> Decision:
    """Return a hand-over with how its steps are to be written; any other decision as it is.

    Raises UserError for one with a note where an engine cannot go on from it.
    """
    if not isinstance(decision, Handoff):
        return decision
    if decision.note and run.chat_only:
        raise UserError(
            f"{run.doors.policy} begins with {decision.note!r:.40}; a chat-only engine cannot go on from it"
        )
    return replace(decision, whole=run.writes_whole and run.tools is not None, max_tokens=run.step_tokens)


def forced_by(decision: Handoff, since: int, *, note: str = "") -> Forced:
    """Return the hand-over that a decision comes to, from step `since` on."""
    engine, until, turns = decision.engine, decision.until, decision.turns
    return Forced(engine, until, turns, since, note, decision.whole, decision.max_tokens)


def check_engine(run: Run, engine: str | None) -> None:
    """Raise UnknownName if a policy chose an engine that does not write here."""
    if engine is not None and engine not in run.samplings:
        raise UnknownName(f"{run.doors.policy} chose engine {engine!r}; the pipeline has {', '.join(run.samplings)}")


def record(run: Run, attempt: int, door: str, decision: Decision, *, policy: str | None = None) -> None:
    """Write a decision to the journal's next transaction, and what it was decided by if that tells nothing apart.

    `policy` decided; None for the router.
    """
    for signal in decision.signals:
        if signal.value is not None and (why := run.readings.count(signal.name, signal.value)):
            run.journal.event(EventRow(run.key, len(run.history.steps), CONSTANT, dumps({"reason": why}), time()))
    run.journal.decision(
        DecisionRow(
            run.key,
            len(run.history.steps),
            attempt,
            door,
            decision.action,
            getattr(decision, "engine", ""),
            decision.reason,
            decision.threshold,
            decision.margin,
            ",".join(decision.alternatives),
            run.doors.policy if policy is None else policy,
            _detail(decision),
        )
    )


def record_once(run: Run, attempt: int, door: str, decision: Decision) -> None:
    """Record what the runtime decided by itself; an earlier session may have."""
    if (len(run.history.steps), attempt, door) not in run.stored.decisions:
        record(run, attempt, door, decision)


def _detail(decision: Decision) -> str:
    """Return what a decision says besides what all of them say, without what is so by default."""
    if isinstance(decision, Moded):
        return dumps(decision.mode)
    own = [each for each in fields(decision) if each.name not in _EVERYWHERE]
    said = {each.name: value for each in own if (value := getattr(decision, each.name)) != each.default}
    return dumps(said) if said else ""


def decision_of(row: DecisionRow, signals: tuple[Signal, ...]) -> Decision:
    """Return a stored decision."""
    why: dict[str, Any] = {
        "reason": row.reason,
        "signals": signals,
        "threshold": row.threshold,
        "margin": row.margin,
        "alternatives": tuple(row.alternatives.split(",")) if row.alternatives else (),
    }
    detail = loads(row.detail) if row.detail else {}
    if row.action == Moded.action:
        return Moded(mode=detail, **why)
    found: Any = _BY_ACTION.get(row.action, Keep)
    if "attempt" in detail:
        found = Adopt
    elif "thought" in detail:
        found = Exited
    if "engine" in (names := {each.name for each in fields(found)}):
        why["engine"] = row.engine
    if "features" in names:
        why["features"] = tuple(detail.pop("features", ()))
    if "status" in detail:
        detail["status"] = Status(detail["status"])
    return cast(Decision, found(**why, **detail))


_EVERYWHERE = {"engine", *(each.name for each in fields(Decision))}
"""What has a column of its own."""
_BY_ACTION = {
    each.action: each for each in (Planned, Rewrite, Handoff, Handback, Rollback, Conclude, StopRun, Approve, Deny)
}
