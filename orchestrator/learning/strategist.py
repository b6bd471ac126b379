"""Behaviors learned from runs: what a large engine reflects on and extracts, read, gated, and added to a handbook.

Reflecting and extracting are runs of their own: they are in the journal with their ledgers, within the pipeline's
budget, and never made twice, because their ids follow from what is asked and of whom. A learner that was killed goes
on where it was, and what it adds is added whole or not at all.

Source: Metacognitive Reuse, arXiv:2509.13237 (solution, reflection, extraction). Differs: only runs whose outcome is
known are learned from; the solution is the run's own; what cannot be read is asked for once more; and a behavior has
to pass the gates of handbook/gates.py.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Sequence
from hashlib import blake2b
from json import loads
from typing import NamedTuple

from orchestrator.errors import ModelMisbehaved, RunTaken, UserError
from orchestrator.handbook.gates import Passed, Refused, Source, gated
from orchestrator.handbook.prompts import extraction, reflection, repair
from orchestrator.handbook.proposals import Proposal, proposals_in
from orchestrator.memory.base import StoredRun
from orchestrator.memory.handbook import Change, Handbook
from orchestrator.memory.ids import derived
from orchestrator.runtime.opening import task_of
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.tasks import fingerprint
from orchestrator.think_tags import said
from orchestrator.types import Message, Task, question_of

__all__ = ["LEARNS", "Learnt", "Strategist"]

LEARNS = "learn "
"""How the batch of a run begins that is no task of the user's, but a question of a strategist."""
_TRACE_CHARS = 24_000
"""Of a longer trace the beginning and the end are shown, half of this each."""
_LOOK_AGAIN_S = 0.1
"""How long to wait before looking again whether another process has been answered."""
_KNOWN = 40
"""Behaviors that a proposal is compared with: those that share its rarest words."""


class Learnt(NamedTuple):
    """What came of learning from one run."""

    run: str
    added: tuple[Change, ...]
    refused: tuple[Refused, ...]
    unusable: str
    """Why nothing could be read in what the engine wrote; empty where it could."""
    output_tokens: int
    """Of all that was asked, what had been asked before included."""


class Strategist:
    """Learns from one stored run after another. `pipeline` lends its largest engine, its budget and its journal."""

    def __init__(self, pipeline: Pipeline, handbook: Handbook) -> None:
        seed: int = loads(pipeline.settings)["seed"]
        self._engine = pipeline.but(
            router="large", scorers={}, seed=seed, stop_on_answer=False, monitors=(), tools=(), mode=None, handbook=None
        )
        self._name = blake2b(self._engine.settings.encode(), digest_size=10).hexdigest()
        self._handbook = handbook

    async def learn(self, stored: StoredRun, *, is_right: bool) -> Learnt:
        """Reflect on a run, extract behaviors, and add those that pass the gates.

        Raises EngineError or MissingCapability where nobody can be asked, StoreError, and UserError for a budget that
        leaves no room.
        """
        task = task_of(stored)
        question, trace = question_of(task.messages), _shortened("".join(row.text for row in stored.kept()))
        reflected, spent = await self._ask(reflection(question, trace, is_right=is_right))
        asked = extraction(question, trace, reflected, is_right=is_right)
        written, tokens = await self._ask(asked)
        spent += tokens
        try:
            proposals = proposals_in(written)
        except ModelMisbehaved as error:
            written, tokens = await self._ask(repair(asked, written, str(error)))
            spent += tokens
            try:
                proposals = proposals_in(written)
            except ModelMisbehaved as again:
                return Learnt(stored.run.id, (), (), str(again), spent)
        added, refused = self._add(proposals, stored, task)
        return Learnt(stored.run.id, added, refused, "", spent)

    def _add(
        self, proposals: Sequence[Proposal], stored: StoredRun, task: Task
    ) -> tuple[tuple[Change, ...], tuple[Refused, ...]]:
        """Add what passes the gates."""
        answer = task.answer or (stored.outcome.answer if stored.outcome else None)
        source = Source(run=stored.run.id, task=fingerprint(task), answer=answer)
        while True:
            known = {
                each.id: each
                for proposal in proposals
                for each, _ in self._handbook.search(f"{proposal.name} {proposal.instruction}", _KNOWN)
            }
            head = self._handbook.head
            results = gated(proposals, [*known.values()], source)
            deltas = [each.delta for each in results if isinstance(each, Passed)]
            try:
                changes = self._handbook.apply(deltas, reason=f"learned from run {stored.run.id}")
            except UserError:
                if self._handbook.head == head:
                    raise
                continue  # another process has added the same name meanwhile: look again
            return tuple(changes), tuple(each for each in results if isinstance(each, Refused))

    async def _ask(self, messages: Sequence[Message]) -> tuple[str, int]:
        """Return what the engine writes behind its thoughts, and how many tokens that took."""
        task = Task(messages=tuple(messages))
        asked = derived("learn", self._name, "\0".join(f"{role}:{text}" for role, text in messages))
        while True:
            try:
                result = await self._engine.arun(task, run_id=asked, batch=LEARNS + self._name)
                break
            except RunTaken:  # another learner asks the same: what it is told will do
                await sleep(_LOOK_AGAIN_S)
        return said(result.text).strip(), result.ledger.total().output_tokens


def _shortened(trace: str) -> str:
    if len(trace) <= _TRACE_CHARS:
        return trace
    left = len(trace) - _TRACE_CHARS
    return f"{trace[: _TRACE_CHARS // 2]}\n[{left} characters left out]\n{trace[-_TRACE_CHARS // 2 :]}"
