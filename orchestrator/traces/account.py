"""What would a policy have paid for of a stored run, up to where the record can tell?"""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import NamedTuple

from orchestrator.ledger import Fate, Ledger
from orchestrator.memory.base import CallIntent
from orchestrator.runtime.ask import ANSWERS
from orchestrator.runtime.calls import WRITING, entry_of
from orchestrator.runtime.counterfactuals import JUDGE
from orchestrator.runtime.marks import ALTERNATIVE, plain
from orchestrator.traces.by_place import Place, Record
from orchestrator.traces.offline import PROBE

__all__ = ["Spent", "first_call_behind", "spent"]


class Spent(NamedTuple):
    """Calls of a run that a policy would have made, too."""

    ledger: Ledger
    """Without prices; seconds are those of the stored calls."""
    is_bound: bool
    """Something in it may be another policy's: two scorers were asked at one place, and only one of them here; what was
    drafted ahead and dropped is in front of where the policies part; or a call has no result."""


def spent(
    record: Record, heard: Collection[tuple[str, Place]], standing: Collection[Place], until: float = inf
) -> Spent:
    """Return the account of the calls before number `until`, behind the step that the record takes to stand if any.

    `heard` is what the policy asked for; what writes, calls tools or answers monitors is the run's, whoever routes.
    Written text is used where it is `standing`, else discarded. A policy that has a step rewritten, and did not ask
    what is written beside the draft, would have had it written then: that is its purpose.
    """
    ledger, is_bound = Ledger(tuple(record.engines)), False
    since = -1 if record.instead is None else record.instead.index
    asked = _Asked(record, heard)
    for intent, result in record.stored.calls:
        if intent.seq >= until or intent.step <= since:
            continue
        share = asked.share(intent, is_standing=(intent.step, intent.attempt) in standing)
        if share == 0 or result is None:
            is_bound |= share > 0
            continue
        is_bound |= share < 1 or (intent.seq in record.over and until < inf)
        stands = intent.purpose not in WRITING or (intent.step, intent.attempt) in standing
        fate = Fate.USED if stands and intent.seq not in record.over else Fate.DISCARDED
        fate = {"done": fate, "failed": Fate.FAILED}.get(result.status, Fate.INTERRUPTED)
        is_rewrite = intent.purpose == ALTERNATIVE and (intent.engine, (intent.step, intent.attempt)) not in heard
        ledger.add(intent.engine, "rewrite" if is_rewrite else intent.purpose, fate, entry_of(result))
    return Spent(ledger, is_bound)


def first_call_behind(record: Record, place: Place, *, is_plan: bool) -> float:
    """Return the number of the first call that follows from what was decided at a place: from its plan, or its draft.

    What was begun beside the draft is before it.
    """
    if is_plan:
        return min((call.intent.seq for call in record.calls(place)), default=inf)
    own = max((call.intent.seq for call in record.calls(place)), default=-1)
    beside = [
        intent.seq
        for intent, _ in record.stored.calls
        if intent.step == place[0] and plain(intent.attempt) == place[1] and intent.attempt != place[1]
    ]
    return max([own, *beside]) + 1


class _Asked:
    """Which of the calls that measure a policy would have made."""

    def __init__(self, record: Record, heard: Collection[tuple[str, Place]]) -> None:
        self._heard = heard
        self._scored: dict[Place, set[str]] = {}
        """Who scored candidates at a place; what is said of kept steps is monitors' business."""
        self._forced: set[Place] = set()
        """Where a router had answers forced behind a draft."""
        for row in record.stored.signals:
            place = row.step, row.attempt
            if row.name == ANSWERS:
                self._forced |= set() if row.unit.endswith("without the draft") else {place}
            elif "@" not in row.name:
                self._scored.setdefault(place, set()).add(row.name)

    def share(self, intent: CallIntent, *, is_standing: bool) -> float:
        """Return 1 for a call that would have been made, 0 for none, between them for one that nobody can tell of."""
        place = intent.step, intent.attempt
        if intent.purpose == ALTERNATIVE:
            return float(is_standing or (intent.engine, place) in self._heard)
        if intent.purpose == PROBE and place in self._forced:
            return float((ANSWERS, place) in self._heard)
        if intent.purpose == JUDGE and (names := self._scored.get(place)):
            return sum((name, place) in self._heard for name in names) / len(names)
        return 1.0
