"""What was tried as a step of a run, with everything that is known about it in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.memory.base import REMOVED, StoredRun
from orchestrator.runtime.attempts import STANDS, Attempt
from orchestrator.runtime.hidden import DROPPED
from orchestrator.runtime.remarks import is_aside
from orchestrator.runtime.timeline import candidates
from orchestrator.traces.record import Call, Decision, RunRecord, Signal
from orchestrator.traces.shown import Home
from orchestrator.types import StepKind

__all__ = ["Candidate", "candidates_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One text that was written for a step, whether it stands or not."""

    run: str
    """Id of the run that wrote it: another one's where a fork began with it."""
    step: int
    """From 0."""
    attempt: int
    kind: StepKind | None
    """None if it never stood: what it would have been is not known."""
    writer: str
    """An engine, or the tools that an observation is of."""
    verdict: str
    """`kept`, `inherited`, `observed` (what a tool answered), `rejected`, `not taken` or `counterfactual` (written
    beside another one), `rolled back`, `failed`, `unfinished` or `dropped` (begun before its turn, which did not come).
    """
    reason: str
    """Why, in the policy's words; empty where there was nothing to say."""
    text: str
    output_tokens: int
    """Of the calls that wrote it."""
    is_bound: bool
    """`output_tokens` is a bound, not a count: a call was cut off."""
    seconds: float
    """Wall time of the calls that wrote it."""
    signals: Sequence[Signal]
    """What was measured about it, in order."""
    decisions: Sequence[Decision]
    """What was decided about it, in order: before it was drafted, after, and failovers."""
    calls: Sequence[Call]
    """The calls that wrote it and those that asked about it, in order."""

    @property
    def stands(self) -> bool:
        """Whether it is one of the run's steps."""
        return self.verdict in STANDS


def candidates_of(
    stored: StoredRun, ancestors: Sequence[StoredRun], records: Mapping[str, RunRecord]
) -> list[Candidate]:
    """Return every candidate of every step in the order they were begun in, those that a fork began with first.

    `ancestors` are oldest first; `records` has the records of `stored` and of them, by their ids.
    """
    homes = {each.run.id: _Home(each, records[each.run.id]) for each in (*ancestors, stored)}
    kinds = {(row.step, row.attempt, row.writer): StepKind(row.kind) for row in stored.steps if row.kind != REMOVED}
    return [
        homes[each.origin or stored.run.id].candidate(each, kinds.get((each.step, each.attempt, each.writer)))
        for each in candidates(stored, ancestors)
    ]


class _Home:
    """The run that a candidate was written in, with its record's rows by step and attempt."""

    def __init__(self, stored: StoredRun, record: RunRecord) -> None:
        self._id = record.id
        self._home = Home(stored)
        self._calls = {call.seq: call for call in record.calls}
        self._signals: dict[tuple[int, int], list[Signal]] = {}
        self._decisions: dict[tuple[int, int], list[Decision]] = {}
        for signal in record.signals:
            self._signals.setdefault((signal.step, signal.attempt), []).append(signal)
        for decision in record.decisions:
            if not is_aside(decision.door):
                self._decisions.setdefault((decision.step, decision.attempt), []).append(decision)

    def candidate(self, each: Attempt, kind: StepKind | None) -> Candidate:
        place = each.step, each.attempt
        is_dropped = each.verdict == DROPPED  # what is known of its place is about the one that took its turn
        return Candidate(
            run=self._id,
            step=each.step,
            attempt=each.attempt,
            kind=kind,
            writer=each.writer,
            verdict=each.verdict,
            reason=each.reason,
            text=each.text,
            output_tokens=each.output_tokens,
            is_bound=each.is_bound,
            seconds=each.seconds,
            signals=[] if is_dropped else self._signals.get(place, []),
            decisions=[] if is_dropped else self._decisions.get(place, []),
            calls=[self._calls[call.intent.seq] for call in self._home.calls(each)],
        )
