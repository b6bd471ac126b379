"""Decisions on their way to the journal and back: what each kind of them says besides its reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from json import dumps, loads
from time import time
from typing import Any

from orchestrator.errors import UnknownName, UserError
from orchestrator.memory.base import DecisionRow, EventRow
from orchestrator.runtime.alternative import Adopt
from orchestrator.runtime.run import Forced, Run
from orchestrator.types import (
    Conclude,
    Decision,
    Handback,
    Handoff,
    Keep,
    Rewrite,
    Rollback,
    Signal,
    Status,
    StopRun,
)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny(Decision):
    """A tool is not called; the engine is told why."""

    action = "deny"


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
    match decision:
        case Handoff(failed="", until=None, turns=None, note="", to_step=None, whole=False, max_tokens=None):
            return ""
        case Keep() | StopRun(status=None):
            return ""
        case Adopt(max_tokens=max_tokens, attempt=attempt):
            return dumps({"max_tokens": max_tokens, "attempt": attempt})
        case Rewrite(max_tokens=max_tokens):
            return "" if max_tokens is None else dumps({"max_tokens": max_tokens})
        case Handoff(until=until, to_step=to_step):
            others = {name: getattr(decision, name) for name in ("failed", "turns", "note", "whole", "max_tokens")}
            others = {name: value for name, value in others.items() if value}
            return dumps({"until": until, **others, **({} if to_step is None else {"to_step": to_step})})
        case StopRun(status=status):
            return dumps({"status": status})
        case Exited(thought=thought, at_most=at_most, usual=usual):
            return dumps({"thought": thought, "at_most": at_most, "usual": usual})
        case Rollback(to_step=to_step):
            return dumps({"to_step": to_step})
        case Moded(mode=mode):
            return dumps(mode)
        case Planned(max_tokens=max_tokens, logprobs=logprobs, whole=whole, lead=lead, features=features):
            said: dict[str, Any] = {"max_tokens": max_tokens, "logprobs": logprobs, "whole": whole}
            said = said if any(said.values()) or lead else {}
            said |= {"lead": lead} if lead else {}
            said |= {"features": [float(each) for each in features]} if features else {}
            return dumps(said) if said else ""
    return ""


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
    match row.action:
        case "plan":
            detail["features"] = tuple(detail.get("features", ()))
            return Planned(engine=row.engine, **detail, **why)
        case "rewrite" if "attempt" in detail:
            return Adopt(engine=row.engine, **detail, **why)
        case "rewrite" | "handoff":
            return (Rewrite if row.action == "rewrite" else Handoff)(engine=row.engine, **detail, **why)
        case "rollback":
            return Rollback(to_step=detail["to_step"], **why)
        case "stop":
            return StopRun(status=Status(detail["status"]) if detail else None, **why)
        case "mode":
            return Moded(mode=detail, **why)
        case "approve" | "deny" | "handback" | "conclude":
            made: Decision = _PLAIN[row.action](**why)
            return made
    return Keep(**why)


_PLAIN: dict[str, Any] = {each.action: each for each in (Approve, Deny, Handback, Conclude)}
