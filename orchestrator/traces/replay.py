"""How would another policy, or another threshold, have decided a stored run?  No engine is asked.

The run's own drafts, scores and histories are given to the router, one question after another. While it answers as
was answered then, the run stays what it was. The first other answer is where the two part: what it would have led to
is known for that one step where it was written beside the draft, and for nothing behind it. So a replay says what was
decided alike, where it parted or could not be decided and why, and what the policy would have paid for until there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import loads
from typing import Any, NamedTuple

from orchestrator.decisions import Decision, Keep, Plan, StopRun, keep
from orchestrator.doors import Needs
from orchestrator.ledger import Ledger
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.identity import policy_of
from orchestrator.runtime.portal import run_sync
from orchestrator.traces.account import first_call_behind, spent
from orchestrator.traces.asked import AFTER_DRAFT, Question, questions
from orchestrator.traces.by_place import Place, Record
from orchestrator.traces.offline import StoredAsk, Undecided
from orchestrator.traces.other import ends, other_step
from orchestrator.traces.policy import router_of
from orchestrator.traces.verdict import Verdict, decided, told_of
from orchestrator.types import Status, Step

__all__ = ["Parted", "Replayed", "areplayed", "replayed"]


class Parted(NamedTuple):
    """The first decision that is another one, or cannot be made."""

    step: int
    attempt: int
    door: str
    then: str
    """What was decided then, such as `keep` or `rewrite large`; a plan is `draft small`."""
    now: str
    """What is decided now; empty where the record does not tell."""
    reason: str
    """In the policy's words, or what the record lacks."""
    threshold: float | None = None
    margin: float | None = None
    other: Step | None = None
    """The step that would stand; None where nobody wrote it."""


class Replayed(NamedTuple):
    """What a policy makes of one stored run."""

    run: str
    then: str
    """The run's policy, as its settings name it."""
    policy: str
    alike: Sequence[Verdict]
    """What was decided as it is stored, in order; the reasons may differ."""
    parted: Parted | None
    """None where nothing parted."""
    left: int
    """Decisions that the record cannot tell about: the one that parted, if it could not be made, and all behind it."""
    ledger: Ledger
    """What the policy would have paid for until there, discarded work included; without prices."""
    is_bound: bool
    """Something in it may be another policy's, see traces/account.py."""
    is_known: bool
    """How it ends is known: nothing parted, or what parted ends the run. Not where the run's budget ended it and this
    policy would have had some left."""
    answer: str | None
    """Where that is known."""

    @property
    def flips(self) -> bool:
        """Whether it parted by another decision."""
        return self.parted is not None and bool(self.parted.now)

    @property
    def is_undecided(self) -> bool:
        """Whether it parted by a decision that could not be made."""
        return self.parted is not None and not self.parted.now


def replayed(stored: StoredRun, router: Any = None, ancestors: Sequence[StoredRun] = ()) -> Replayed:
    """Return what `router`, by default the run's own, makes of a stored run; `ancestors` are oldest first.

    A router that learns is not asked: what it knew is no part of a run. Raises UserError for a router that names
    engines which the run has not.
    """
    return run_sync(areplayed(stored, router_of(stored) if router is None else router, ancestors))


async def areplayed(stored: StoredRun, router: Any, ancestors: Sequence[StoredRun] = ()) -> Replayed:
    """As `replayed`, where an event loop runs."""
    record = Record(stored, ancestors, logprobs=getattr(router, "needs", Needs()).logprobs)
    names = stored.run.id, _policy(record), str(policy_of(router))
    alike: list[Verdict] = []
    heard: set[tuple[str, Place]] = set()
    asked = questions(record)
    for question in asked:
        made: Decision | Plan | None = None
        try:
            verdict = await decided(record, router, question)
        except Undecided as missing:
            parted = Parted(*question.place, question.door, _then(question), "", str(missing))
        else:
            heard |= verdict.heard
            if verdict.is_alike:
                alike += [verdict] if verdict.row is not None else []
                continue
            made = verdict.made
            parted = _parted(record, question, made)
        known = _known(record, question, parted, made)
        account = _until(record, question, parted, made, heard)
        left = int(made is None and question.row is not None) + sum(each.row is not None for each in asked)
        return Replayed(*names, alike, parted, left, *account, *known)
    account = spent(record, heard, {(row.step, row.attempt) for row in stored.kept()})
    is_known = _is_over(stored, account.ledger)
    answer = stored.outcome.answer if stored.outcome and is_known else None
    return Replayed(*names, alike, None, 0, *account, is_known, answer)


def _is_over(stored: StoredRun, ledger: Ledger) -> bool:
    """Return whether a run that decides all alike has ended, too: not where its budget ended it, and less is spent."""
    if stored.outcome is None or stored.outcome.status != Status.BUDGET:
        return stored.outcome is not None
    paid: int = sum(row["output_tokens"] for row in loads(stored.outcome.ledger))
    return ledger.total().output_tokens == paid


def _policy(record: Record) -> str:
    written = record.settings.get("router")
    return str(written.get("policy", "")) if isinstance(written, Mapping) else str(written)


def _then(question: Question) -> str:
    if question.plan is not None:
        return told_of(question.plan)
    return told_of(question.row or keep())


def _parted(record: Record, question: Question, made: Decision | Plan) -> Parted:
    threshold, margin = (None, None) if isinstance(made, Plan) else (made.threshold, made.margin)
    other = other_step(record, question, made)
    then = _then(question)
    return Parted(*question.place, question.door, then, told_of(made), made.reason, threshold, margin, other)


def _known(record: Record, question: Question, parted: Parted, made: Decision | Plan | None) -> tuple[bool, str | None]:
    """Return whether the run is over with what parted, and its answer then."""
    if made is None or parted.other is None or not ends(record, parted.other, made):
        return False, None
    text = "".join(step.text for step in question.history.steps) + parted.other.text
    try:
        return True, StoredAsk(record, question.history, 0).answer_in(text)
    except Undecided:
        return False, None


def _until(
    record: Record, question: Question, parted: Parted, made: Decision | Plan | None, heard: set[tuple[str, Place]]
) -> tuple[Ledger, bool]:
    """Return the account up to a question, whose history is the run's at that moment, with what parted, if known."""
    standing = {(step.index, step.attempt) for step in question.history.steps}
    if parted.other is not None:
        place = parted.other.index, parted.other.attempt
        standing.add(place)
        heard = heard if isinstance(made, Keep | StopRun) else {*heard, (parted.other.writer, place)}
    is_plan = question.door != AFTER_DRAFT
    account = spent(record, heard, standing, first_call_behind(record, question.place, is_plan=is_plan))
    return account.ledger, account.is_bound
