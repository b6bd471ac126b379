"""What a stored run tried: every candidate of every step, those that do not stand included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from orchestrator.engines.base import Drafting
from orchestrator.memory.base import REMOVED, CallRow, DecisionRow, SignalRow, StepRow, StoredRun
from orchestrator.routers.base import UNASKED
from orchestrator.runtime.calls import WRITING, drafting_of
from orchestrator.runtime.fork import inherited, origins
from orchestrator.runtime.hidden import DROPPED, Drop, dropped
from orchestrator.runtime.in_force import leads_of
from orchestrator.runtime.marks import plain
from orchestrator.types import StepKind

__all__ = ["STANDS", "STOOD", "Attempt", "attempts"]

_OBSERVED = "observed"
STANDS = ("kept", "inherited", _OBSERVED)
"""Verdicts on what is one of the run's steps."""
STOOD = (*STANDS, "rolled back")
"""And on what once was."""
_PURPOSES = {"rewrite": "replaces draft", "alternative": "written beside the draft", "answer": "asked to answer"}


class Attempt(NamedTuple):
    """One candidate for a step: everything that was generated, measured and decided about it."""

    step: int
    attempt: int
    writer: str
    verdict: str
    """`kept`, `inherited`, `rejected`, `not taken` (an alternative), `rolled back`, `failed` or `unfinished`;
    `dropped` where it was begun before its turn, which did not come; `observed` is what a tool answered."""
    reason: str
    text: str
    output_tokens: int
    is_bound: bool
    """`output_tokens` is a bound, not a count."""
    seconds: float
    """Wall time of the calls that wrote it."""
    first_token_s: float | None
    """Of its first call; None where that came in one piece."""
    queue_s: float | None
    """How long its calls waited in the server; None where it does not say, and likewise below."""
    drafting: Drafting | None
    """What speculative decoding did in its calls."""
    signals: Sequence[SignalRow]
    decision: DecisionRow | None
    """What the router said about it, None where it was not asked."""
    origin: str = ""
    """Id of the run that wrote it, empty where it is the run's own."""


def attempts(stored: StoredRun, ancestors: Sequence[StoredRun] = ()) -> list[Attempt]:
    """Return every candidate of every step, in the order they were begun, after the steps that a fork began with.

    `ancestors`, oldest first, are the runs it was forked from.
    """
    tried = [*_inherited(stored, ancestors), *_own(stored)]
    observed = dict(_observed(stored))
    last = {(each.step, each.attempt): place for place, each in enumerate(tried)}
    found: list[Attempt] = []
    for place, each in enumerate(tried):
        found.append(each)
        behind = (each.step, each.attempt)
        if last[behind] == place and behind in observed:
            found.append(observed[behind])
    return found


def _observed(stored: StoredRun) -> Iterator[tuple[tuple[int, int], Attempt]]:
    """Return what tools answered in the run itself, by step and attempt of the action that it is behind."""
    standing = {(row.step, row.attempt) for row in stored.kept()}
    begun_with = len(inherited(stored))
    for place, (action, row) in enumerate(pairwise(stored.steps), 1):
        if row.kind == StepKind.OBSERVATION and place >= begun_with:
            stands = (row.step, row.attempt) in standing
            yield (action.step, action.attempt), _observation(row, _OBSERVED if stands else "rolled back")


def _observation(row: StepRow, verdict: str) -> Attempt:
    """Return what tools answered: no engine wrote it."""
    return Attempt(
        step=row.step,
        attempt=row.attempt,
        writer=row.writer,
        verdict=verdict,
        reason="",
        text=row.text,
        output_tokens=0,
        is_bound=False,
        seconds=row.seconds,
        first_token_s=None,
        queue_s=None,
        drafting=None,
        signals=(),
        decision=None,
    )


def _inherited(stored: StoredRun, ancestors: Sequence[StoredRun]) -> Iterator[Attempt]:
    theirs = {(each.run.id, *own[:3]): own for each in ancestors for own in _own(each) if own.verdict != DROPPED}
    wrote = origins(stored, ancestors)
    standing = {(row.step, row.attempt) for row in stored.kept()}
    for row in inherited(stored) if ancestors else ():
        origin = wrote[row.step, row.attempt]
        verdict = "inherited" if (row.step, row.attempt) in standing else "rolled back"
        is_observed = row.kind == StepKind.OBSERVATION
        tried = _observation(row, verdict) if is_observed else theirs[origin, row.step, row.attempt, row.writer]
        yield tried._replace(verdict=verdict, origin=origin)


def _own(stored: StoredRun) -> list[Attempt]:
    calls: dict[tuple[int, int, str, Drop | None], list[CallRow]] = {}
    about = _About(stored)
    for call in stored.calls:
        step, attempt, engine = call.intent.step, call.intent.attempt, call.intent.engine
        if call.intent.purpose in WRITING:
            calls.setdefault((step, attempt, engine, about.dropped.get(call.intent.seq)), []).append(call)
    return [_attempt((step, attempt, engine), drop, own, about) for (step, attempt, engine, drop), own in calls.items()]


class _About:
    """What the journal says about candidates, by step and attempt."""

    def __init__(self, stored: StoredRun) -> None:
        self.standing = {(row.step, row.attempt) for row in stored.kept()}
        self.once_kept = {(row.step, row.attempt) for row in stored.steps if row.kind != REMOVED}
        self.leads = leads_of(stored)
        self.dropped = dropped(stored)
        self.signals: dict[tuple[int, int], list[SignalRow]] = {}
        for signal in stored.signals:
            self.signals.setdefault((signal.step, signal.attempt), []).append(signal)
        self.decisions = {(row.step, row.attempt, row.door): row for row in stored.decisions}


def _attempt(place: tuple[int, int, str], drop: Drop | None, calls: Sequence[CallRow], about: _About) -> Attempt:
    step, attempt, writer = place
    results = [call.result for call in calls if call.result is not None]
    decision = about.decisions.get((step, attempt, "after_draft"))
    planned = about.decisions.get((step, attempt, "before_step"))
    planned = planned if planned and planned.reason else None
    takeover = about.decisions.get((step, attempt, "runtime"))
    done = [result for result in results if result.status == "done"]
    lead = about.leads.get((step, attempt)) if done else None
    error = next((result.error for result in reversed(results) if result.error), "")
    asked = None if planned and decision and decision.reason == UNASKED else decision
    # One that failed at first may have been retried.
    told = asked or (None if done else takeover) or planned
    tried = Attempt(
        step=step,
        attempt=attempt,
        writer=writer,
        verdict=_verdict((step, attempt), about, is_written=bool(done), error=error),
        reason=told.reason if told else error or _PURPOSES.get(calls[0].intent.purpose, ""),
        text=(lead.text if lead else "") + "".join(result.text for result in done),
        output_tokens=sum(result.output_tokens for result in results),
        is_bound=len(results) < len(calls) or any(result.uncertain for result in results),
        seconds=sum(result.seconds for result in results),
        first_token_s=results[0].first_token_s if results else None,
        queue_s=_total([result.queue_s for result in results]),
        drafting=Drafting.total(counts) if (counts := [*filter(None, map(drafting_of, results))]) else None,
        signals=about.signals.get((step, attempt), ()),
        decision=decision,
    )
    if drop is None:
        return tried
    return tried._replace(verdict=DROPPED, reason=drop.reason, signals=(), decision=None)


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _verdict(place: tuple[int, int], about: _About, *, is_written: bool, error: str) -> str:
    if place in about.standing:
        return "kept"
    if place in about.once_kept:
        return "rolled back"
    step, attempt = place
    if is_written and (step, plain(attempt), "after_draft") in about.decisions:
        return "rejected" if attempt == plain(attempt) else "not taken"
    return "failed" if error else "unfinished"
