"""A stored run as one typed record, and one JSON object of an export: schema_version 1.

    schema_version, id, parent, batch, position, created_s
    task        messages [role, content], id, answer (gold), topic
    settings    everything that shaped the run, by name
    engines     by name: what each could do, as probed; the largest is last
    steps       what stands: run, step, attempt, kind, writer, text, stop, num_tokens, seconds; `run` is
                another one's id where a fork inherited the step, and the calls behind it are that run's;
                kind is thought, action (it calls tools), observation (what they answered, its writers) or answer
    written     every step that ever stood, in the order they were written, those of kind `removed` included, which
                take their step and all behind it away; null where that is `steps`
    calls       every engine call, failed and interrupted ones included, with its text and token ids; one of a
                tool has the purpose tool, its name as `engine`, what it answered as `text`, and no tokens
    signals     every measured value, by step and attempt
    decisions   who chose what, and why, by door: mode (its detail is the Mode), after_draft, on_events (what
                was done about events), exit (a thought was ended early), approval N (of a step's Nth call), ...
    events      what monitors noticed, by their kinds: stuck, milestone, overthinking, ...; and what happened to
                the run: resumed, thought, unheard (a monitor that had no answer), ...
    outcome     status, answer, error, reason, seconds, ledger rows, finished_s; null if it never ended

`attempt` counts the candidates of a step that followed each other, from 0. One that was written beside an attempt, to
be compared with it, is that attempt plus a multiple of 1048576: 1 + the place of its engine, + the number of engines
for each further sample. `attempt % 1048576` is the one that it was written beside.

Times ending in `_s` are seconds since the epoch except `first_token_s`, which counts from sending, and `queue_s`;
`seconds` are durations. Within a version fields may be added and none is ever taken away or given another meaning.

Lone surrogates in broken model output, which not every JSON reader takes, become U+FFFD, and numbers that JSON does
not know become null; the ids are exact. Secrets become `[redacted]`, see redact.py; a call in whose text one was found
loses its ids and logprobs, which spell it, too. Not in it are rewards and what policies learned from the run: they
belong to the journal.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from json import loads
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.memory.base import CallRow, StoredRun, asked_last
from orchestrator.runtime.fork import origins
from orchestrator.traces.redact import Redactor, valid
from orchestrator.types import StepKind

__all__ = [
    "Call",
    "Decision",
    "Event",
    "Outcome",
    "RunRecord",
    "Signal",
    "Step",
    "Task",
    "Written",
    "exported",
    "recorded",
]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(_Record):
    """What was asked."""

    messages: list[tuple[str, str]]
    id: str | None
    answer: str | None
    topic: str | None = None


class Step(_Record):
    """A step that stands."""

    run: str
    """Id of the run that wrote it."""
    step: int
    attempt: int
    kind: StepKind
    writer: str
    """An engine, or the tools that an observation is of."""
    text: str
    stop: str
    num_tokens: int
    seconds: float


class Written(_Record):
    """A row of the steps as it was written: one that stood, or, of kind `removed`, one that took others away."""

    step: int
    attempt: int
    kind: str
    writer: str
    text: str
    stop: str
    num_tokens: int
    seconds: float


class Call(_Record):
    """One engine call; everything from `status` on is null while it has no result."""

    seq: int
    step: int
    attempt: int
    purpose: str
    """draft, rewrite, judge, probe, tool, ..."""
    engine: str
    """Who was called: an engine, or a tool where the purpose is tool."""
    seed: int
    digest: str
    """Names the prompt's ids, or a tool's arguments: equal digests, equal prompts."""
    max_tokens: int
    started_s: float
    prompt_tokens: int
    status: str | None = None
    text: str | None = None
    ids: list[int] | None = None
    stop: str | None = None
    stop_text: str | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    uncertain: bool | None = None
    """`output_tokens` is a bound, not a count."""
    seconds: float | None = None
    first_token_s: float | None = None
    error: str | None = None
    logprobs: list[Any] | None = None
    """Per token [id, text, logprob, alternatives], where they were kept."""
    queue_s: float | None = None
    """Waited in the server; null where it does not say, and likewise below."""
    drafts: int | None = None
    """Drafts of speculative decoding that were verified."""
    drafted: int | None = None
    accepted: int | None = None
    """Tokens of `drafted` that stood."""


class Signal(_Record):
    """A measured value, or the reason why there is none."""

    step: int
    attempt: int
    name: str
    value: float | None
    raw: float | None
    unit: str
    reason: str
    output_tokens: int
    seconds: float


class Decision(_Record):
    """What was chosen, by whom, and why."""

    step: int
    attempt: int
    door: str
    action: str
    engine: str
    reason: str
    threshold: float | None
    margin: float | None
    alternatives: list[str]
    policy: str
    detail: dict[str, Any]

    @property
    def score(self) -> float | None:
        """The reading that the threshold was held against, in its unit."""
        return None if self.threshold is None or self.margin is None else self.threshold + self.margin


class Event(_Record):
    """What a monitor noticed, or something else worth knowing."""

    step: int
    """Of a monitor's, the last kept step when it was noticed."""
    kind: str
    detail: dict[str, Any]
    """Of a monitor's: `reason`, and `raised`, the attempt of the step; where there are such also `value`, `threshold`
    and the `answer` that was given there."""
    at_s: float


class Outcome(_Record):
    """How the run ended."""

    status: str
    answer: str | None
    error: str
    reason: str
    seconds: float
    ledger: list[dict[str, Any]]
    finished_s: float


class RunRecord(_Record):
    """Everything about one run; one line of an export."""

    schema_version: Literal[1] = 1
    id: str
    parent: str | None
    batch: str
    position: int
    created_s: float
    task: Task
    settings: dict[str, Any]
    engines: dict[str, dict[str, Any]]
    steps: list[Step]
    written: list[Written] | None = None
    calls: list[Call]
    signals: list[Signal]
    decisions: list[Decision]
    events: list[Event]
    outcome: Outcome | None

    @property
    def question(self) -> str:
        """What was asked last."""
        return asked_last(self.task.messages)

    @property
    def router(self) -> str:
        """Name and version of the policy that chose."""
        chosen = self.settings.get("router")
        return str(chosen.get("policy", "") if isinstance(chosen, dict) else chosen)


def exported(stored: StoredRun, ancestors: Sequence[StoredRun], hide: Redactor | None = None) -> dict[str, Any]:
    """Return `stored` as plain JSON data; as `recorded`."""
    return recorded(stored, ancestors, hide).model_dump(mode="json")


def recorded(stored: StoredRun, ancestors: Sequence[StoredRun], hide: Redactor | None = None) -> RunRecord:
    """Return `stored` as a record without secrets; `ancestors` are oldest first.

    `hide` finds the secrets, by default also those that the environment of this process holds.
    """
    hide = hide or Redactor()
    run, outcome = stored.run, stored.outcome
    wrote = origins(stored, ancestors)
    kept = stored.kept()
    plain = {
        "id": run.id,
        "parent": run.parent,
        "batch": run.batch,
        "position": run.position,
        "created_s": run.created_s,
        "task": loads(run.task),
        "steps": [{**_row(step), "run": wrote[step.step, step.attempt]} for step in kept],
        "written": None if len(kept) == len(stored.steps) else [_row(step) for step in stored.steps],
        "calls": [_call(call) for call in stored.calls],
        "signals": [_row(signal) for signal in stored.signals],
        "decisions": [
            _row(
                each, alternatives=each.alternatives.split(",") if each.alternatives else [], detail=_json(each.detail)
            )
            for each in stored.decisions
        ],
        "events": [_row(event, detail=_json(event.detail)) for event in stored.events],
        "outcome": outcome and _row(outcome, ledger=loads(outcome.ledger)),
    }
    hidden = hide.data(plain) | {"settings": hide.json(run.settings), "engines": hide.json(run.engines)}
    for call, (_, result) in zip(hidden["calls"], stored.calls, strict=True):
        if result is not None:
            is_whole = call["text"] == valid(result.text)
            call["ids"] = array("i", result.ids).tolist() if is_whole else []
            call["logprobs"] = call["logprobs"] if is_whole else None
    return RunRecord.model_validate(hidden)


def _row(record: Any, **changes: Any) -> dict[str, Any]:
    """Return a record by field name, without the journal's own number of the run."""
    values: dict[str, Any] = {**record._asdict(), **changes}
    del values["run"]
    return values


def _json(text: str) -> Any:
    return loads(text) if text else {}


def _call(call: CallRow) -> dict[str, Any]:
    """Return a call but for its ids, which no secret is looked for in."""
    intent, result = call
    values = _row(intent, digest=intent.digest.hex())
    if result is None:
        return values
    came = _row(result, uncertain=bool(result.uncertain), logprobs=loads(result.logprobs) if result.logprobs else None)
    del came["ids"]
    return {**values, **came}
