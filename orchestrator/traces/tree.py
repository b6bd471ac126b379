"""Where does a replay go on when it parts from a run that has a stored tree (`collect --tree`)?

A branch is a run that stands on a candidate which its parent did not keep, and goes on from there with the draws that
the parent would have had. So what a policy would have kept stands in some branch, with everything behind it that the
policy can ask about, down to an answer: what is said there is read, not guessed. Where the tree has no such branch,
the replay ends as it does without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from json import loads
from math import inf
from typing import Any

from orchestrator.ledger import Ledger
from orchestrator.memory.base import StepRow, StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.runtime.fork import ancestors, branch_id, inherited
from orchestrator.runtime.marks import BAND, plain
from orchestrator.runtime.portal import run_sync
from orchestrator.traces.by_place import Record
from orchestrator.traces.policy import router_of
from orchestrator.traces.prices import costs_of
from orchestrator.traces.replay import Followed, Replayed, areplayed
from orchestrator.types import Step

__all__ = ["afollowed", "followed", "other_candidates"]


def followed(journal: Journal, stored: StoredRun, router: Any = None) -> Replayed:
    """Return what `router`, by default the run's own, makes of a stored run and of the tree that it is the root of.

    As `replayed` where there is no tree. Costs are exact: of what branches paid for, only what the policy would have
    paid for counts. Raises UserError for a router that names engines which the run has not.
    """
    return run_sync(afollowed(journal, stored, router_of(stored) if router is None else router))


async def afollowed(journal: Journal, stored: StoredRun, router: Any) -> Replayed:
    """As `followed`, where an event loop runs."""
    parts, path = [await areplayed(stored, router, ancestors(journal, stored))], []
    run: StoredRun | None = stored
    while run is not None and (parted := parts[-1].lacks) is not None and (other := parted.other) is not None:
        is_same = [row.text for row in run.kept()[other.index : other.index + 1]] == [other.text]
        run = run if is_same else _standing_on(journal, run, other)
        if run is not None:
            path.append(Followed(parted, run.run.id))
            behind = ancestors(journal, run)
            parts.append(await areplayed(run, router, behind, instead=other if is_same else None))
    return _joined(stored, parts, path) if path else parts[0]


def _standing_on(journal: Journal, stored: StoredRun, other: Step) -> StoredRun | None:
    branch = journal.stored(branch_id(stored, other))
    begun_with = inherited(branch) if branch is not None else ()
    return branch if [row.text for row in begun_with[other.index :]] == [other.text] else None


def other_candidates(stored: StoredRun, parents: Sequence[StoredRun], depth: int) -> list[Step]:
    """Return what a run of `collect` wrote among its first `depth` steps and did not keep, where it is another text.

    Of a fork only its own steps count: those that it began with are its parent's.
    """
    record = Record(stored, parents)
    rows = [row for row in stored.kept()[:depth] if row.step >= record.begun_with]
    found = (_other(record, row) for row in rows)
    return [step for step in found if step is not None]


def _other(record: Record, row: StepRow) -> Step | None:
    beside = plain(row.attempt) if row.attempt >= BAND else BAND * len(record.writers) + row.attempt
    place = row.step, beside
    if not any(result is not None and result.status == "done" for _, result in record.calls(place)[-1:]):
        return None  # it is cut off
    step = record.step(place)
    return step if step is not None and step.text != row.text else None


def _joined(stored: StoredRun, parts: Sequence[Replayed], path: Sequence[Followed]) -> Replayed:
    """Return a replay through several runs as one of the first of them."""
    ledger = Ledger(parts[0].ledger.engines)
    for part in parts:
        for row in part.ledger:
            ledger.add(*row)
    last = replace(
        parts[-1],
        stored=stored,
        run=parts[0].run,
        then=parts[0].then,
        alike=[verdict for part in parts for verdict in part.alike],
        parted=parts[0].parted,
        ledger=ledger,
        is_bound=any(part.is_bound for part in parts),
        path=path,
    )
    if last.is_known and not _fits(stored, ledger):
        return replace(last, unknown="its budget may have ended it on the way", answer=None, text=None)
    return last


def _fits(stored: StoredRun, ledger: Ledger) -> bool:
    """Return whether a run with that account surely keeps within its budget: every branch had one of its own."""
    budget: Mapping[str, Any] = loads(stored.run.settings)["budget"]
    cost = costs_of(loads(stored.outcome.ledger) if stored.outcome else [])
    for engine, limits in [(None, budget), *budget["engines"].items()]:
        total = ledger.total(engine=engine)
        costs = [cost(name, entry) for name, _, _, entry in ledger if engine in (None, name)]
        is_within = (
            (limits["tokens"] is None or total.output_tokens < limits["tokens"])
            and (limits["prompt_tokens"] is None or total.prompt_tokens <= limits["prompt_tokens"])
            and (limits["cost"] is None or sum(inf if each is None else each for each in costs) < limits["cost"])
        )
        if not is_within or limits.get("seconds") is not None:
            return False
    return True
