"""Behaviors learned from runs: what an engine reflects on and extracts, read, gated, and added to a handbook.

Reflecting and extracting are runs of their own (learning/lent.py): a learner that was killed asks nothing again, what
it adds is added whole or not at all, and what it has learned from is not learned from again.

Source: Metacognitive Reuse, arXiv:2509.13237 (solution, reflection, extraction). Differs: only runs whose outcome is
known are learned from, verified by a gold answer or a reward, or else judged where somebody asks for that; the
solution is the run's own; what cannot be read is asked for once more; and a behavior has to pass the gates of
handbook/gates.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from orchestrator.behaviors import Behavior
from orchestrator.engines.embedding import Embedding
from orchestrator.errors import EngineError, ModelMisbehaved, UnknownName, UserError
from orchestrator.handbook.gates import Meaning, Passed, Refused, Source, formed, gated, normalised
from orchestrator.handbook.prompts import extraction, line, reflection, repair
from orchestrator.handbook.proposals import Proposal, proposals_in
from orchestrator.learning.judging import Judge, Judged
from orchestrator.learning.lent import Lent
from orchestrator.learning.looks import ASKED, LEARNS
from orchestrator.memory.base import StoredRun
from orchestrator.memory.handbook import Change, Handbook
from orchestrator.memory.refusals import Refusal
from orchestrator.runtime.opening import task_of
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync
from orchestrator.runtime.recalling import was_right
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.tasks import fingerprint
from orchestrator.think_tags import said
from orchestrator.types import Message, Status, Task, question_of

__all__ = ["LEARNS", "OWN", "Learnt", "Strategist", "trace_of"]

OWN = (LEARNS, ASKED)
"""How the batches of runs begin that are no tasks of the user's, but questions of ours."""
_TRACE_CHARS = 24_000
"""Of a longer trace the beginning and the end are shown, half of this each."""
_KNOWN = 40
"""Behaviors that a proposal is compared with: those that share its rarest words."""
_EMBEDDED_AT_ONCE = 256


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


class _Spent:
    """Tokens of what was asked for one run."""

    def __init__(self) -> None:
        self.output_tokens = self.prompt_tokens = 0

    def add(self, output_tokens: int, prompt_tokens: int) -> None:
        self.output_tokens += output_tokens
        self.prompt_tokens += prompt_tokens

    def of(self, learnt: Learnt) -> Learnt:
        return learnt._replace(output_tokens=self.output_tokens, prompt_tokens=self.prompt_tokens)


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
        self._embedding = pipeline.embedding if embedding is None else embedding
        self._adding = asyncio.Lock()  # what two runs teach at a time is not to be the same twice

    @property
    def handbook(self) -> Handbook:
        """Where it learns into."""
        return self._handbook

    @property
    def engine(self) -> str:
        """Who reflects."""
        return self._lent.engine

    def learn(self, run: StoredRun | RunResult | str, *, is_right: bool | None = None) -> Learnt:
        """Learn from a run, from plain code; see `alearn`. Works where an event loop is already running, too."""
        return run_sync(self.alearn(run, is_right=is_right))

    async def alearn(
        self, run: StoredRun | RunResult | str, *, is_right: bool | None = None, blind: bool = False
    ) -> Learnt:
        """Reflect on a run, extract behaviors, and add those that pass the gates. The run itself stays as it is.

        `run` is what a pipeline gave back, a stored run or its id; `is_right` its outcome where the caller knows more
        than the journal. A run that was learned from before, that failed, or whose outcome nobody knows, is left alone;
        with `blind` the outcome is not asked for, and the engine is told that nobody has checked it.

        Raises EngineError or MissingCapability where nobody can be asked, StoreError, UnknownName for a run that is not
        in the journal, and UserError for a budget that leaves no room.
        """
        stored = self._stored(run)
        if why := self._idle(stored):
            return Learnt(stored.run.id, skipped=why)
        spent, judged = _Spent(), None
        if is_right is None and not blind:
            is_right = self._outcome(stored)
        if is_right is None and not blind:
            judged = await self._judged(stored)
            if judged is None:
                return Learnt(stored.run.id, skipped="nobody knows its outcome: reward it")
            spent.add(judged.output_tokens, judged.prompt_tokens)
            if judged.is_right is None:
                return spent.of(Learnt(stored.run.id, skipped=judged.told))
            is_right = judged.is_right
        try:
            proposals = await self._proposals(stored, is_right, judged is not None, spent)
        except ModelMisbehaved as error:
            return spent.of(Learnt(stored.run.id, unusable=str(error)))
        reason = f"learned from run {stored.run.id}" + (f", {judged.told}" if judged else "")
        async with self._adding:
            added, refused, compared = await self._add(proposals, stored, reason)
        return spent.of(Learnt(stored.run.id, added, refused, compared=compared))

    def knows(self, run_id: str) -> bool:
        """Return whether it has learned from a run: then it does not again."""
        return self._handbook.has_studied(run_id, self._lent.who)

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

    def _outcome(self, stored: StoredRun) -> bool | None:
        return was_right(stored, self._pipeline.worth(stored))

    async def _judged(self, stored: StoredRun) -> Judged | None:
        """Return what the judge says of a run; None without a judge or an answer."""
        assert stored.outcome is not None
        if self._judging is None or stored.outcome.answer is None:
            return None
        question = question_of(task_of(stored).messages)
        return await self._judging.judge(question, trace_of(stored), stored.outcome.answer)

    # ---- what is asked

    async def _proposals(
        self, stored: StoredRun, is_right: bool | None, is_judged: bool, spent: _Spent
    ) -> list[Proposal]:
        """Ask for behaviors, twice if need be. Raises ModelMisbehaved where neither text can be read."""
        question, trace = question_of(task_of(stored).messages), trace_of(stored)
        reflected, _ = await self._ask(reflection(question, trace, is_right=is_right, is_judged=is_judged), spent)
        asked = extraction(question, trace, reflected, is_right=is_right, is_judged=is_judged)
        written, _ = await self._ask(asked, spent)
        try:
            return proposals_in(written)
        except ModelMisbehaved as error:
            written, ended = await self._ask(repair(asked, written, str(error)), spent)
            try:
                return proposals_in(written)
            except ModelMisbehaved as again:
                raise ModelMisbehaved(f"{again}{ended}") from None

    async def _ask(self, messages: Sequence[Message], spent: _Spent) -> tuple[str, str]:
        """Return what the engine writes behind its thoughts, and how it was cut off, if it was."""
        result = await self._lent.ask(messages)
        total = result.ledger.total()
        spent.add(total.output_tokens, total.prompt_tokens)
        return said(result.text).strip(), f" ({result.reason})" if result.status is Status.BUDGET else ""

    # ---- what is added

    async def _add(
        self, proposals: Sequence[Proposal], stored: StoredRun, reason: str
    ) -> tuple[tuple[Change, ...], tuple[Refused, ...], str]:
        """Add what passes the gates, keep what does not, and say how they were compared."""
        task: Task = task_of(stored)
        answer = task.answer or (stored.outcome.answer if stored.outcome else None)
        source = Source(run=stored.run.id, task=fingerprint(task), answer=answer)
        while True:
            head = self._handbook.head
            meanings, compared = await self._meanings(proposals, source)
            results = gated(proposals, self._known(proposals), source, meanings)
            deltas = [delta for each in results if isinstance(each, Passed) for delta in each.deltas]
            refused = tuple(each for each in results if isinstance(each, Refused))
            kept = [_refusal(each, source) for each in refused if not each.is_known]
            try:
                changes = self._handbook.study(stored.run.id, self._lent.who, deltas, kept, reason=reason)
            except UserError:
                if self._handbook.head == head:
                    raise
                continue  # another process has changed the handbook meanwhile: look again
            return tuple(changes), refused, compared

    def _known(self, proposals: Sequence[Proposal]) -> list[Behavior]:
        """Return what proposals could repeat: what shares their words or their names, and what was retired."""
        found = {each.id: each for each in self._handbook.gone()}
        for proposal in proposals:
            alike = self._handbook.search(f"{proposal.name} {proposal.instruction}", _KNOWN)
            found |= {each.id: each for each, _ in alike}
            with suppress(UnknownName):
                namesake = self._handbook.behavior(normalised(proposal.name))
                found[namesake.id] = namesake
        return [*found.values()]

    async def _meanings(self, proposals: Sequence[Proposal], source: Source) -> tuple[list[Meaning], str]:
        """Return what each proposal means, nothing where nothing can be embedded, and by what they are compared."""
        if self._embedding is None:
            return [], "words"
        try:
            space = await self._embedding.space()
            while missing := self._handbook.without_vector(space, _EMBEDDED_AT_ONCE):
                vectors = await self._embedding.embed([line(each) for each in missing])
                self._handbook.put_vectors(space, dict(zip(missing, vectors, strict=True)))
            vectors = await self._embedding.embed([_line(each, source) for each in proposals])
        except EngineError as error:
            return [], f"words, not by meaning: {error}"
        nearest = [next(iter(self._handbook.nearest(space, vector, 1)), None) for vector in vectors]
        found = [(near[0].name, near[1]) if near else ("", 0.0) for near in nearest]
        return [Meaning(vector, *near) for vector, near in zip(vectors, found, strict=True)], "words and meaning"


def trace_of(stored: StoredRun) -> str:
    """Return what a run wrote, the middle of a long one left out."""
    trace = "".join(row.text for row in stored.kept())
    if len(trace) <= _TRACE_CHARS:
        return trace
    left = len(trace) - _TRACE_CHARS
    return f"{trace[: _TRACE_CHARS // 2]}\n[{left} characters left out]\n{trace[-_TRACE_CHARS // 2 :]}"


def _line(proposal: Proposal, source: Source) -> str:
    """Return what is embedded of a proposal: the line it would have; of one that is none, nothing."""
    try:
        return line(Behavior(id=1, **formed(proposal, source)._asdict()))
    except UserError:
        return ""


def _refusal(refused: Refused, source: Source) -> Refusal:
    return Refusal(*refused.proposal, refused.gate, refused.reason, source.run, source.task)
