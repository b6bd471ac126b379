"""Behaviors learned from runs: what an engine reflects on and extracts, read, gated, and added to a handbook.

Reflecting and extracting are runs of their own (learning/lent.py): a learner that was killed asks nothing again, what
it adds is added whole or not at all (learning/adding.py), and what it has learned from is not learned from again.

Source: Metacognitive Reuse, arXiv:2509.13237 (solution, reflection, extraction). Differs: only runs whose outcome is
known are learned from, verified by a gold answer or a reward, or else judged where somebody asks for that; the
solution is the run's own; what cannot be read is asked for once more; and a behavior has to pass the gates of
handbook/gates.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from orchestrator.behaviors import Behavior
from orchestrator.engines.embedding import Embedding
from orchestrator.errors import ModelMisbehaved, UserError
from orchestrator.handbook.gates import Refused, Source
from orchestrator.handbook.prompts import extraction, reflection, repair
from orchestrator.handbook.proposals import Proposal, proposals_in
from orchestrator.learning.adding import Adding
from orchestrator.learning.judging import Judge
from orchestrator.learning.lent import Lent
from orchestrator.learning.looks import OWN
from orchestrator.ledger import Entry
from orchestrator.memory.base import StoredRun
from orchestrator.memory.changes import Change
from orchestrator.memory.handbook import Handbook
from orchestrator.runtime.opening import task_of
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync
from orchestrator.runtime.recalling import was_right
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.tasks import fingerprint
from orchestrator.think_tags import said
from orchestrator.types import Message, Status, Task, question_of

__all__ = ["UNSAID", "Learnt", "Strategist", "shortened"]

UNSAID: Any = object()
"""The outcome of a run is for the journal to know, or for a judge to say."""
_TRACE_CHARS = 24_000
"""Of a longer trace the beginning and the end are shown, half of this each."""


class Learnt(NamedTuple):
    """What came of learning from one run."""

    run: str
    added: tuple[Change, ...] = ()
    """What was added, and what had to give way to it."""
    refused: tuple[Refused, ...] = ()
    unusable: str = ""
    """Why nothing could be read in what the engine wrote; empty where it could."""
    output_tokens: int = 0
    """Of all that was asked, what had been asked before included; likewise below."""
    prompt_tokens: int = 0
    skipped: str = ""
    """Why nobody was asked to reflect on it: it was learned from before, or its outcome is not known."""
    compared: str = ""
    """How proposals were compared with what is known: by `words`, `words and meaning`, or why not by meaning."""

    @property
    def new(self) -> list[Behavior]:
        """The behaviors that were learned."""
        return [each.after[0] for each in self.added if each.op == "add"]


class _Outcome(NamedTuple):
    """How a run ended."""

    is_right: bool | None = None
    told: str = ""
    """Why that is not certain; empty where it is."""
    is_judged: bool = False
    skipped: str = ""
    """Why nothing can be learned from it."""


_GIVEN = {True: _Outcome(True), False: _Outcome(False), None: _Outcome(told="which nobody has checked")}


class Strategist:
    """Learns from one run after another. `pipeline` lends an engine, its budget and its journal.

    `handbook` is the pipeline's own unless given. `engine` is the name of the engine that reflects, None for the
    largest; a `judge` is asked about runs that nobody has checked, which are left alone without one. `embedding`, the
    pipeline's own unless given, finds what means the same; without any, words alone are compared.

    Raises UserError where there is no handbook, UnknownName for an engine that is not the pipeline's.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        handbook: Handbook | None = None,
        *,
        engine: str | None = None,
        judge: Judge | None = None,
        embedding: Embedding | None = None,
    ) -> None:
        found = pipeline.handbook if handbook is None else handbook
        if found is None:
            raise UserError("there is no handbook to learn into: name one, as Pipeline(..., handbook=FILE) does")
        self._handbook = found
        self._pipeline = pipeline
        self._lent = Lent(pipeline, engine)
        self._judging = judge.of(pipeline) if judge is not None else None
        self._adding = Adding(found, self._lent.who, pipeline.embedding if embedding is None else embedding)

    @property
    def handbook(self) -> Handbook:
        """Where it learns into."""
        return self._handbook

    @property
    def engine(self) -> str:
        """Who reflects."""
        return self._lent.engine

    def learn(self, run: StoredRun | RunResult | str, *, is_right: bool | None = UNSAID) -> Learnt:
        """Learn from a run, from plain code; see `alearn`. Works where an event loop is already running, too."""
        return run_sync(self.alearn(run, is_right=is_right))

    async def alearn(self, run: StoredRun | RunResult | str, *, is_right: bool | None = UNSAID) -> Learnt:
        """Reflect on a run, extract behaviors, and add those that pass the gates. The run itself stays as it is.

        `run` is what a pipeline gave back, a stored run or its id. Its outcome is what the journal knows, or a judge
        says, unless `is_right` is given: None for learning all the same from what nobody has checked, which the change
        then says. A run that was learned from before, that failed, or whose outcome nobody knows, is left alone.

        Raises EngineError or MissingCapability where nobody can be asked, StoreError, UnknownName for a run that is not
        in the journal, and UserError for a budget that leaves no room.
        """
        stored = self._stored(run)
        if why := self._idle(stored):
            return Learnt(stored.run.id, skipped=why)
        spent = Entry()
        learnt = await self._learnt(stored, is_right, spent)
        return learnt._replace(output_tokens=spent.output_tokens, prompt_tokens=spent.prompt_tokens)

    def knows(self, run_id: str) -> bool:
        """Return whether it has learned from a run: then it does not again."""
        return self._adding.has_studied(run_id)

    async def _learnt(self, stored: StoredRun, is_right: bool | None, spent: Entry) -> Learnt:
        """Return what comes of a run; what is asked for that is added to `spent`."""
        found = await self._outcome(stored, spent) if is_right is UNSAID else _GIVEN[is_right]
        if found.skipped:
            return Learnt(stored.run.id, skipped=found.skipped)
        try:
            proposals = await self._proposals(stored, found, spent)
        except ModelMisbehaved as error:
            return Learnt(stored.run.id, unusable=str(error))
        reason = ", ".join(filter(None, [f"learned from run {stored.run.id}", found.told]))
        added = await self._adding.add(proposals, _source(stored), reason)
        return Learnt(stored.run.id, added.changes, added.refused, compared=added.compared)

    # ---- which runs

    def _stored(self, run: StoredRun | RunResult | str) -> StoredRun:
        if isinstance(run, StoredRun):
            return run
        return self._pipeline.journal.run(run if isinstance(run, str) else run.run_id)

    def _idle(self, stored: StoredRun) -> str:
        """Return why a run is left alone; empty where it is not."""
        if stored.run.batch.startswith(OWN):
            return "it is a question of ours"
        if stored.outcome is None:
            return "it has not ended"
        if stored.outcome.status == Status.FAILED:
            return "it failed"
        return "it was learned from before" if self.knows(stored.run.id) else ""

    async def _outcome(self, stored: StoredRun, spent: Entry) -> _Outcome:
        """Return what the journal knows of how a run ended, or else what the judge says."""
        assert stored.outcome is not None
        worth = self._pipeline.worth(stored)
        if (is_right := was_right(stored, worth)) is not None:
            return _Outcome(is_right)
        if self._judging is None or worth is not None or stored.outcome.answer is None:
            return _Outcome(skipped="nobody says whether it was right: reward it, or have it judged")
        question = question_of(task_of(stored).messages)
        judged = await self._judging.judge(question, _trace(stored), stored.outcome.answer)
        spent.add(Entry(output_tokens=judged.output_tokens, prompt_tokens=judged.prompt_tokens))
        if judged.is_right is None:
            return _Outcome(skipped=judged.told)
        return _Outcome(judged.is_right, told=judged.told, is_judged=True)

    # ---- what is asked

    async def _proposals(self, stored: StoredRun, found: _Outcome, spent: Entry) -> list[Proposal]:
        """Ask for behaviors, twice if need be. Raises ModelMisbehaved where neither text can be read."""
        question, trace = question_of(task_of(stored).messages), _trace(stored)
        told: dict[str, Any] = {"is_right": found.is_right, "is_judged": found.is_judged}
        reflected, _ = await self._ask(reflection(question, trace, **told), spent)
        asked = extraction(question, trace, reflected, **told)
        written, _ = await self._ask(asked, spent)
        try:
            return proposals_in(written)
        except ModelMisbehaved as error:
            written, ended = await self._ask(repair(asked, written, str(error)), spent)
            try:
                return proposals_in(written)
            except ModelMisbehaved as again:
                raise ModelMisbehaved(f"{again}{ended}") from None

    async def _ask(self, messages: Sequence[Message], spent: Entry) -> tuple[str, str]:
        """Return what the engine writes behind its thoughts, and how it was cut off, if it was."""
        result = await self._lent.ask(messages)
        spent.add(result.ledger.total())
        return said(result.text).strip(), f" ({result.reason})" if result.status is Status.BUDGET else ""


def _trace(stored: StoredRun) -> str:
    return shortened("".join(row.text for row in stored.kept()))


def shortened(trace: str) -> str:
    """Return the beginning and the end of a long trace, and how much is left out between them."""
    if len(trace) <= _TRACE_CHARS:
        return trace
    left = len(trace) - _TRACE_CHARS
    return f"{trace[: _TRACE_CHARS // 2]}\n[{left} characters left out]\n{trace[-_TRACE_CHARS // 2 :]}"


def _source(stored: StoredRun) -> Source:
    task: Task = task_of(stored)
    given = stored.outcome.answer if stored.outcome else None
    return Source(run=stored.run.id, task=fingerprint(task), answer=task.answer or given)
