"""The records of the journal: what is written while a run goes on, and what is read back.

Everything is append-only. The unit of durability is the call: its intent is on disk before the
request leaves, its result before anything is built on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "LEARNED",
    "LEARNS",
    "REMOVED",
    "BatchRun",
    "CallIntent",
    "CallResult",
    "CallRow",
    "DecisionRow",
    "EventRow",
    "Learned",
    "Lesson",
    "OutcomeRow",
    "RunRow",
    "RunSummary",
    "SignalRow",
    "StepRow",
    "StoredRun",
    "asked_last",
]


LEARNED = "learned"
"""Kind of the event that says which version of what a policy had learned a run began with."""
LEARNS = "learn "
"""How the batch of a run begins that is a question of a strategist or a judge, or a branch of a tree: no newest run is
ever one of those, as long as there is any other."""
REMOVED = "removed"
"""Kind of a step row that only takes away."""


def asked_last(messages: Sequence[Sequence[str]]) -> str:
    """Return what is asked by pairs of role and content: what the user says last, else what is said last."""
    return next((content for role, content in reversed(messages) if role == "user"), messages[-1][1])


class RunRow(NamedTuple):
    """One run, written when it starts."""

    id: str
    """What people type: unique, and sortable by time unless it is derived, see ids.py."""
    parent: str | None
    """The run this one was forked from, or None."""
    batch: str
    """Names what `--resume` looks for: a file of tasks or one question."""
    position: int
    """Place of the task in its batch, from 0."""
    task: str
    """The task as a JSON object with `messages`, each a pair of role and content; the gold answer is in it,
    and `topic` where it names one."""
    settings: str
    """Everything that shapes the run, as canonical JSON; a resume must match it."""
    engines: str
    """A JSON object of engine names and their probed capabilities, in the pipeline's order: the largest is last."""
    created_s: float
    """Seconds since the epoch."""


class CallIntent(NamedTuple):
    """A call that is about to be sent."""

    run: int
    """The journal's own number of the run."""
    seq: int
    """0 for the run's first call, then 1, 2, ..."""
    step: int
    attempt: int
    purpose: str
    """`draft`, `rewrite`, `answer` (these write steps), `judge`, ..."""
    engine: str
    seed: int
    digest: bytes
    """Names the prompt's ids."""
    prompt_tokens: int
    max_tokens: int
    """What the budget has reserved for it."""
    started_s: float
    """Seconds since the epoch."""


class CallResult(NamedTuple):
    """What came of a call."""

    run: int
    seq: int
    status: str
    """`done`, `failed`, `aborted` (cancelled by us) or `interrupted` (its process died)."""
    text: str
    ids: bytes
    """Token ids as little-endian 32-bit integers."""
    stop: str
    """A `Stop`, or empty unless done."""
    stop_text: str
    prompt_tokens: int
    cached_tokens: int | None
    output_tokens: int
    uncertain: int
    """1 if `output_tokens` is a bound, not a count."""
    seconds: float
    first_token_s: float | None
    error: str
    """Empty unless failed."""
    logprobs: str | None
    """As JSON, where a router or a scorer asked for them."""
    queue_s: float | None = None
    """Waited in the server; None where it does not say, and likewise below."""
    drafts: int | None = None
    """Drafts of speculative decoding that were verified."""
    drafted: int | None = None
    """Tokens in them."""
    accepted: int | None = None
    """Tokens of them that stood."""


class SignalRow(NamedTuple):
    """A measured value, or why there is none."""

    run: int
    step: int
    attempt: int
    name: str
    value: float | None
    raw: float | None
    unit: str
    reason: str
    output_tokens: int
    seconds: float


class DecisionRow(NamedTuple):
    """What was chosen, by whom, and why."""

    run: int
    step: int
    attempt: int
    door: str
    """`before_step`, `after_draft`, or `runtime` where the runtime itself decided, which is a failover."""
    action: str
    engine: str
    reason: str
    threshold: float | None
    margin: float | None
    alternatives: str
    """Comma-separated."""
    policy: str
    """Name and version of the policy."""
    detail: str
    """Further fields of the decision as JSON, or empty."""


class StepRow(NamedTuple):
    """A kept step. A later row of the same step replaces it and everything kept behind it.

    A row of kind `removed` only takes away: it is what a rollback writes.
    """

    run: int
    step: int
    attempt: int
    kind: str
    writer: str
    text: str
    stop: str
    num_tokens: int
    seconds: float


class EventRow(NamedTuple):
    """Something else worth knowing: `resumed`, `forked`, `dropped` (calls begun before a turn that did not come), or
    what a monitor saw, such as `stalled`."""

    run: int
    step: int
    kind: str
    detail: str
    """JSON, or empty."""
    at_s: float


class OutcomeRow(NamedTuple):
    """How a run ended."""

    run: int
    status: str
    answer: str | None
    error: str
    reason: str
    seconds: float
    ledger: str
    """Rows of the ledger as JSON."""
    finished_s: float


class CallRow(NamedTuple):
    """An intent with its result, None while there is none."""

    intent: CallIntent
    result: CallResult | None


class StoredRun(NamedTuple):
    """Everything the journal knows about one run, each list in the order it was written."""

    key: int
    run: RunRow
    calls: Sequence[CallRow]
    signals: Sequence[SignalRow]
    decisions: Sequence[DecisionRow]
    steps: Sequence[StepRow]
    events: Sequence[EventRow]
    outcome: OutcomeRow | None

    @property
    def status(self) -> str:
        """How it ended: a `Status`, or `unfinished` where it has no outcome: it is executed, or was interrupted."""
        return self.outcome.status if self.outcome else "unfinished"

    def kept(self) -> list[StepRow]:
        """Return the steps that stand, in order."""
        standing: list[StepRow] = []
        for row in self.steps:
            del standing[row.step :]
            if row.kind != REMOVED:
                standing.append(row)
        return standing


class Learned(NamedTuple):
    """What a policy had learned at some time."""

    version: int
    """0 before anything was learned, then 1, 2, ..."""
    state: Mapping[str, Any]
    """The policy's own, plain JSON data; empty at version 0."""


class Lesson(NamedTuple):
    """How a policy learns from a run."""

    policy: str
    """Names what is learned: policies of the same name share it."""
    learn: Callable[[StoredRun, float | None, Mapping[str, Any]], Mapping[str, Any]]
    """The run as it is on disk, what it was worth (None if nobody has said) and the newest state -> the next state.

    It is called while the database is held, so it must not touch it.
    """


class BatchRun(NamedTuple):
    """What a resume asks about one task of a batch: the newest run of it, and how that ended."""

    key: int
    run: RunRow
    outcome: OutcomeRow | None
    """None if it never ended."""


class RunSummary(NamedTuple):
    """One line of a list of runs."""

    key: int
    id: str
    created_s: float
    """Seconds since the epoch."""
    status: str
    """A `Status`, or `running`, or `interrupted`: it did not end and no process works on it."""
    question: str
    """The first words of the task, on one line, cut to 80 characters."""
    steps: int
    """Steps that stand."""
    answer: str | None
    large_share: float | None
    """Share of output tokens that the largest engine produced, in [0, 1]; None until the run has ended."""
    seconds: float | None
    """Wall time; None until the run has ended."""
    output_tokens: int | None
    """Of every call, discarded work included; None until the run has ended."""
    cost: float | None
    """Likewise, in the unit of the prices."""
    policy: str
    """Name and version of the router."""
    parent: str | None
    """The run this one was forked from, or None."""
