"""How would another policy, or another threshold, have decided a stored run?  No engine is asked.

The run's own drafts, scores and histories are given to the router, one question after another. While it answers as
was answered then, the run stays what it was. The first other answer is where the two part: what it would have led to
is known for that one step where it was written beside the draft, and for nothing behind it, unless a stored tree goes
on there (tree.py). So a replay says what was decided alike, where it parted or could not be decided and why, and what
the policy would have paid for until there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json import loads
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.decisions import Decision, Plan, keep
from orchestrator.doors import Needs
from orchestrator.ledger import Fate, Ledger
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.displayed import Displayed
from orchestrator.runtime.identity import policy_of
from orchestrator.runtime.paper import as_text
from orchestrator.runtime.portal import run_sync
from orchestrator.traces.account import first_call_behind, spent
from orchestrator.traces.asked import AFTER_DRAFT, Question, questions
from orchestrator.traces.by_place import Place, Record
from orchestrator.traces.offline import StoredAsk, Undecided
from orchestrator.traces.other import ends, other_step, written
from orchestrator.traces.policy import router_of
from orchestrator.traces.verdict import Verdict, decided, drafted, told_apart, told_of
from orchestrator.types import Status, Step

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Followed", "Parted", "Replayed", "areplayed", "replayed"]


class Parted(NamedTuple):
    """The first decision that is another one, or cannot be made."""

    step: int
    attempt: int
    door: str
    then: str
    """What was decided then, such as `keep` or `rewrite large`; a plan is `draft small`. Where the same is done by the
    same engine in another way, what differs follows, as in `handoff large, until 17`."""
    now: str
    """What is decided now; empty where the record does not tell."""
    reason: str
    """In the policy's words, or what the record lacks."""
    threshold: float | None = None
    margin: float | None = None
    other: Step | None = None
    """The step that would stand; None where nobody wrote it."""


class Followed(NamedTuple):
    """Where a replay went on behind a step that the run did not keep."""

    parted: Parted
    run: str
    """The branch that stands on it; the run itself, where what it kept has the same text."""


@dataclass(frozen=True, slots=True)
class Replayed(Displayed):
    """What a policy makes of one stored run; a notebook shows where they part."""

    stored: StoredRun = field(repr=False, compare=False)
    run: str
    then: str
    """The run's policy, as its settings name it."""
    policy: str
    alike: Sequence[Verdict]
    """What was decided as it is stored, in order; the reasons may differ."""
    parted: Parted | None
    """The first that is not alike; None where nothing parted."""
    left: int
    """Decisions that the record cannot tell about: the one that parted, if it could not be made, and all behind it."""
    ledger: Ledger
    """What the policy would have paid for until there, discarded work included; without prices."""
    is_bound: bool
    """Something in it may be another policy's, see traces/account.py."""
    unknown: str
    """Why nobody knows how it ends; empty where that is known: nothing parted, or what parted ends the run."""
    answer: str | None
    """Where its end is known, and there is one."""
    text: str | None
    """All that it would have written, where its end is known."""
    path: Sequence[Followed] = ()
    """Where it went on in a stored tree, in order."""
    lacks: Parted | None = None
    """Where what is known ends; None where everything was decided."""

    @property
    def is_known(self) -> bool:
        """Whether it is known how it ends."""
        return not self.unknown

    @property
    def flips(self) -> bool:
        """Whether it parted by another decision."""
        return self.parted is not None and bool(self.parted.now)

    @property
    def is_undecided(self) -> bool:
        """Whether it parted by a decision that could not be made."""
        return self.parted is not None and not self.parted.now

    def drawn(self, width: int) -> Text:
        """Draw it as `orchestrator trace replay` prints it."""
        from orchestrator.traces.replay_shown import lines

        return as_text(lines(self), width)


def replayed(stored: StoredRun, router: Any = None, ancestors: Sequence[StoredRun] = ()) -> Replayed:
    """Return what `router`, by default the run's own, makes of a stored run; `ancestors` are oldest first.

    A router that learns is not asked: what it knew then is no part of a run, so nothing can be told. Raises UserError
    for a router that names engines which the run has not.
    """
    return run_sync(areplayed(stored, router_of(stored) if router is None else router, ancestors))


async def areplayed(
    stored: StoredRun, router: Any, ancestors: Sequence[StoredRun] = (), *, instead: Step | None = None
) -> Replayed:
    """As `replayed`, where an event loop runs. `instead` is a candidate of the same text as a kept step: it is taken
    to stand, and only what is behind it is asked."""
    record = Record(stored, ancestors, logprobs=getattr(router, "needs", Needs()).logprobs, instead=instead)
    names = stored, stored.run.id, _policy(record), str(policy_of(router))
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
            if isinstance(made, Plan):
                parted = parted._replace(other=await drafted(record, router, question, made))
        unknown, answer, text = _known(record, question, parted, made)
        account = _until(record, question, parted, heard)
        left = int(made is None and question.row is not None) + sum(each.row is not None for each in asked)
        left, lacks = (left, parted) if unknown else (0, None)
        return Replayed(*names, alike, parted, left, *account, unknown, answer, text, lacks=lacks)
    account = spent(record, heard, {(row.step, row.attempt) for row in stored.kept()})
    unknown = _unknown(record, account.ledger)
    if unknown or stored.outcome is None:
        return Replayed(*names, alike, None, 0, *account, unknown, None, None)
    text = "".join(row.text for row in stored.kept())
    return Replayed(*names, alike, None, 0, *account, "", stored.outcome.answer, text)


def _unknown(record: Record, ledger: Ledger) -> str:
    """Return why a run that decides all alike has not ended, too: its budget ended it, and less is spent now."""
    stored = record.stored
    if stored.outcome is None:
        return f"run {stored.run.id} has not ended"
    if stored.outcome.status != Status.BUDGET:
        return ""
    steps = record.settings["budget"]["steps"]
    paid: int = sum(row["output_tokens"] for row in loads(stored.outcome.ledger))
    is_alike = ledger.total().output_tokens == paid or (steps is not None and len(stored.kept()) >= steps)
    return "" if is_alike else f"its budget ended run {stored.run.id}, and this policy would have some left"


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
    then, now = told_apart(question, made)
    return Parted(*question.place, question.door, then, now, made.reason, threshold, margin, other)


def _known(
    record: Record, question: Question, parted: Parted, made: Decision | Plan | None
) -> tuple[str, str | None, str | None]:
    """Return why the run is not over with what parted, empty where it is, and its answer and text then."""
    if made is None:
        return parted.reason, None, None
    if parted.other is None:
        return f"{parted.now} at step {parted.step}: nobody wrote what would stand", None, None
    if not ends(record, parted.other, made):
        return f"{parted.now} at step {parted.step}: no stored run goes on behind it", None, None
    text = "".join(step.text for step in question.history.steps) + parted.other.text
    try:
        return "", StoredAsk(record, question.history, 0).answer_in(text), text
    except Undecided as missing:
        return str(missing), None, None


def _until(record: Record, question: Question, parted: Parted, heard: set[tuple[str, Place]]) -> tuple[Ledger, bool]:
    """Return the account up to a question, whose history is the run's at that moment, with what parted, if known."""
    standing = {(step.index, step.attempt) for step in question.history.steps}
    if parted.other is not None:
        standing.add((parted.other.index, parted.other.attempt))
    is_plan = question.door != AFTER_DRAFT
    account = spent(record, heard, standing, first_call_behind(record, question.place, is_plan=is_plan))
    if is_plan and parted.other is not None:  # its draft was begun beside the one that was planned
        for engine, entry in written(record, (parted.other.index, parted.other.attempt)).items():
            account.ledger.add(engine, "draft", Fate.USED, entry)
    return account.ledger, account.is_bound
