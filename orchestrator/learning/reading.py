"""Rows read from the journal: what a run of `collect` drafted, what else was written there, and the scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from json import loads
from typing import NamedTuple

from orchestrator.learning.rows import Before, Row, Target
from orchestrator.memory.base import CallResult, StoredRun
from orchestrator.runtime.calls import completion_of
from orchestrator.runtime.hidden import dropped
from orchestrator.runtime.tasks import fingerprint
from orchestrator.types import Message, Stop, Task, TokenLogprob

__all__ = ["ALTERNATIVE", "Collected", "collected"]

ALTERNATIVE = "alternative"
"""Purpose of the calls that wrote what another engine puts in a draft's place."""

Place = tuple[int, int]
"""Step and attempt."""


class Collected(NamedTuple):
    """What one run gave."""

    rows: list[Row]
    unscored: int
    """Drafts that gave no row, because they, or something that was written in their place, have no score."""
    unfinished: int
    """Drafts that gave no row, because a budget or a failure kept something from being written in their place."""


class _Candidate(NamedTuple):
    writer: str
    text: str
    num_tokens: int
    stop: Stop
    logprobs: tuple[TokenLogprob, ...]


def collected(stored: StoredRun, scorer: str, samples: int) -> Collected:
    """Return a row for each draft of a run that `scorer` scored beside all `samples` written in its place.

    A mean over fewer would be another label than that of the other rows.
    """
    given = loads(stored.run.task)
    messages = tuple(Message(*message) for message in given["messages"])
    kept = [Before(row.writer, row.text) for row in stored.kept()]
    scores: dict[Place, dict[str, float]] = {}
    for signal in stored.signals:
        if signal.value is not None:
            scores.setdefault((signal.step, signal.attempt), {})[signal.name] = signal.value
    drafts = {place[0]: (place, each) for place, each in _candidates(stored, "draft")}
    others: dict[int, list[tuple[Place, _Candidate]]] = {}
    for place, each in _candidates(stored, ALTERNATIVE):
        others.setdefault(place[0], []).append((place, each))
    rows, unscored, unfinished = [], 0, 0
    for step, (place, draft) in sorted(drafts.items()):
        if step > len(kept):
            continue
        written = others.get(step, [])
        if len(written) < samples:
            unfinished += 1
            continue
        ours = scores.get(place, {})
        targets = []
        for at, each in written:
            theirs = ours if each.text == draft.text else scores.get(at, {})  # nobody rates the same text twice
            if scorer in theirs:
                targets.append(Target(each.text, each.num_tokens, theirs[scorer], _but(theirs, scorer)))
        if scorer not in ours or len(targets) < samples:
            unscored += 1
            continue
        rows.append(
            Row(
                run=stored.run.id,
                task=fingerprint(Task(messages=messages)),
                messages=messages,
                before=tuple(kept[:step]),
                writer=draft.writer,
                draft=draft.text,
                num_tokens=draft.num_tokens,
                stop=draft.stop,
                logprobs=draft.logprobs,
                score=ours[scorer],
                also=_but(ours, scorer),
                targets=tuple(targets),
            )
        )
    return Collected(rows, unscored, unfinished)


def _but(scores: Mapping[str, float], scorer: str) -> dict[str, float]:
    return {name: value for name, value in scores.items() if name != scorer}


def _candidates(stored: StoredRun, purpose: str) -> Iterator[tuple[Place, _Candidate]]:
    """Yield what was written for a purpose, in the order it was begun; a step may have taken several calls.

    What was begun ahead and dropped was written from another prefix than the step's own.
    """
    over = dropped(stored)
    calls: dict[Place, list[tuple[str, CallResult]]] = {}
    for call in stored.calls:
        is_wanted = call.intent.purpose == purpose and call.intent.seq not in over
        if is_wanted and call.result is not None and call.result.status == "done":
            calls.setdefault((call.intent.step, call.intent.attempt), []).append((call.intent.engine, call.result))
    for place, results in calls.items():
        yield place, _joined(results[-1][0], [result for _, result in results])


def _joined(writer: str, results: Sequence[CallResult]) -> _Candidate:
    parts = [completion_of(result) for result in results]
    return _Candidate(
        writer=writer,
        text="".join(part.text for part in parts),
        num_tokens=sum(part.output_tokens for part in parts),
        stop=parts[-1].stop,
        logprobs=tuple(entry for part in parts for entry in part.logprobs or ()),
    )
