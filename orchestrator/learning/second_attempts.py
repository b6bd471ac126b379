"""A second attempt at a task: guided by what was learned from the first one, or by revising it.

    attempts = SecondAttempts(pipeline)
    first = await pipeline.arun(task)
    guided = await attempts.guided(first.run_id)     # (behaviors, question) -> second attempt
    revised = await attempts.revised(first.run_id)   # (question, first attempt) -> second attempt

Both ways have the budget of one run of the pipeline, in output tokens, for everything: the first attempt, what is
learned from it, and the second one, which gets what is left. Nobody is told the gold answer, nor whether the first
attempt was right: the task goes on without its answer, so that not even a gate can give it away. Every call is part
of a run in the journal, whose id follows from the first attempt and from the settings: what was interrupted goes on,
and what was done is not done again.

Source: Metacognitive Reuse, arXiv:2509.13237, self-improvement beside critique-and-revise. Differs: the paper leaves
open whether a handbook is one question's or for all; here each has its own, so that nothing but the first attempt can
help, and it is gone behind the second one: what it held is in that run's trace. This is the only place where a
question is answered with what was learned from itself (`Recall.own`). There the budget is that of each attempt, here
that of the whole way. Where nothing was learned, or nothing is left to spend, the first answer stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from json import loads
from typing import Literal, NamedTuple, get_args

from orchestrator.behaviors import Behavior
from orchestrator.errors import UserError
from orchestrator.handbook.prompts import fenced
from orchestrator.handbook.recall import Recall
from orchestrator.learning.strategist import Strategist, shortened
from orchestrator.ledger import Entry
from orchestrator.memory.base import StoredRun
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.ids import derived
from orchestrator.memory.store import Store
from orchestrator.runtime.in_force import recalled_in
from orchestrator.runtime.opening import is_over, task_json, task_of
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.types import Message, Status, Task

__all__ = ["BATCHES", "Attempted", "SecondAttempts", "Way", "revision"]

Way = Literal["guided", "revised"]
BATCHES = tuple(f"{way} " for way in get_args(Way))
"""How the batches begin of second attempts; behind that stands the first one's id."""
_ASKED = 3
"""Questions that learning from one run may take: reflection, extraction, and a repair."""
_REVISE = (
    "Nobody has checked it. Go through it step by step, look for mistakes, and then give the whole solution again, "
    "mended where it was wrong, with the answer in the form that was asked for."
)


class Attempted(NamedTuple):
    """What a way came to."""

    way: Way
    first: str
    """The run it began with."""
    second: RunResult | None
    """None where there was none, and the first answer stands."""
    why: str
    """Why there was none; empty where there was."""
    answer: str | None
    shown: tuple[Behavior, ...]
    """What the second attempt was shown of what was learned from the first."""
    output_tokens: int
    """Of the whole way; no more than the budget of one run, unless the first attempt's was another."""
    prompt_tokens: int
    learning: tuple[int, int]
    """Output and prompt tokens of reflection and extraction; they are among those above."""


class _Own(Handbook):
    """What was learned from one question is for that question, whatever its words: all of it is found."""

    def search(self, question: str, limit: int = 40, *, sections: Sequence[str] = ()) -> list[tuple[Behavior, float]]:
        """Return the behaviors by id."""
        return [(each, 1.0) for each in self.behaviors()[:limit]]


class SecondAttempts:
    """Makes second attempts. `pipeline` lends its engines, router, budget and journal; `engine` reflects, the largest
    unless it is named.

    Its limits of recall say how much of what was learned is shown. Raises UserError for a pipeline whose budget does
    not limit output tokens: the ways could not be compared.
    """

    def __init__(self, pipeline: Pipeline, engine: str | None = None) -> None:
        if pipeline.budget.tokens is None:
            raise UserError("second attempts are compared at equal budgets: give the pipeline Budget(tokens=...)")
        self._pipeline = pipeline
        self._engine = engine
        self._tokens: int = pipeline.budget.tokens
        self._recall = Recall(limit=pipeline.recall.limit, tokens=pipeline.recall.tokens, own=True)

    async def guided(self, first: str) -> Attempted:
        """Learn from a run, whose id this is or begins with, and answer its question with what was learned.

        Learning may take half of what the first attempt left of the budget. Raises as `Pipeline.arun`, and UserError
        for a run that is not over.
        """
        stored = self._first(first)
        each = (self._tokens - _spent(stored).output_tokens) // (2 * _ASKED)
        if each < 1:
            return _stands("guided", stored, Entry(), "the first attempt left too few tokens to learn from it")
        with Store(":memory:") as store:
            return await self._guided(stored, each, _Own(store, "second_attempt"))

    async def _guided(self, stored: StoredRun, each: int, handbook: Handbook) -> Attempted:
        """Learn into an empty handbook, `each` question within so many tokens, and answer with it."""
        learnt = await Strategist(self._but(each, None), handbook, engine=self._engine).alearn(stored, is_right=None)
        learning = Entry(output_tokens=learnt.output_tokens, prompt_tokens=learnt.prompt_tokens)
        if not handbook.behaviors():
            why = (
                learnt.unusable
                or "; ".join(refused.reason for refused in learnt.refused)
                or "nothing was worth keeping"
            )
            return _stands("guided", stored, learning, f"nothing was learned: {why}")
        left = self._tokens - _spent(stored).output_tokens - learning.output_tokens
        return await self._second("guided", stored, self._but(left, handbook), task_of(stored).messages, learning)

    async def revised(self, first: str) -> Attempted:
        """Show a run, whose id this is or begins with, to the engines again, to look for mistakes and mend them.

        Raises as `guided`.
        """
        stored = self._first(first)
        left = self._tokens - _spent(stored).output_tokens
        if left < 1:
            return _stands("revised", stored, Entry(), "the first attempt left no tokens to revise it")
        messages = revision(task_of(stored).messages, "".join(row.text for row in stored.kept()))
        return await self._second("revised", stored, self._but(left, None), messages, Entry())

    def _first(self, run_id: str) -> StoredRun:
        """Return the first attempt as it would be if nobody knew the answer."""
        stored = self._pipeline.journal.run(run_id)
        if stored.outcome is not None and stored.outcome.status == Status.FAILED:
            raise UserError(
                f"run {stored.run.id} failed, and a second attempt needs a first answer: `orchestrator run --resume` "
                "tries it again"
            )
        if not is_over(stored):
            raise UserError(f"run {stored.run.id} is not over: a second attempt needs a first one")
        blind = replace(task_of(stored), answer=None)
        return stored._replace(run=stored.run._replace(task=task_json(blind)))

    def _but(self, tokens: int, handbook: Handbook | None) -> Pipeline:
        """Return the pipeline with `tokens` to spend, which shows `handbook` and no other; nobody can say what its
        runs are worth."""
        return self._pipeline.but(
            router=self._pipeline.router,
            calibration=self._pipeline.calibration,
            budget=self._pipeline.budget.but(tokens=tokens),
            handbook=handbook,
            recall=self._recall,
            reward=lambda task, answer: None,
        )

    async def _second(
        self, way: Way, first: StoredRun, pipeline: Pipeline, messages: Sequence[Message], learning: Entry
    ) -> Attempted:
        taught_by = [self._engine] if self._engine and way == "guided" else []
        run_id = derived("second", way, first.run.id, pipeline.settings, *taught_by)
        task = Task(messages=tuple(messages), id=task_of(first).id)
        second = await pipeline.arun(task, run_id=run_id, batch=f"{way} {first.run.id}")
        recalled = recalled_in(pipeline.journal.run(run_id))
        shown = () if recalled is None else recalled.shown
        return _attempted(way, first, second.answer, learning, second=second, shown=shown)


def revision(messages: Sequence[Message], attempt: str) -> tuple[Message, ...]:
    """Return a conversation whose last message shows a first attempt, and asks for it to be mended."""
    *before, last = messages
    asked = f"{last.content}\n\nHere is a first attempt:\n{fenced(shortened(attempt))}\n\n{_REVISE}"
    return (*before, Message(last.role, asked))


def _spent(stored: StoredRun) -> Entry:
    assert stored.outcome is not None
    rows = loads(stored.outcome.ledger)
    return Entry(**{name: sum(row[name] for row in rows) for name in ("output_tokens", "prompt_tokens")})


def _stands(way: Way, first: StoredRun, learning: Entry, why: str) -> Attempted:
    assert first.outcome is not None
    return _attempted(way, first, first.outcome.answer, learning, why=why)


def _attempted(
    way: Way,
    first: StoredRun,
    answer: str | None,
    learning: Entry,
    *,
    second: RunResult | None = None,
    why: str = "",
    shown: tuple[Behavior, ...] = (),
) -> Attempted:
    spent = _spent(first)
    spent.add(learning)
    if second is not None:
        spent.add(second.ledger.total())
    learned = learning.output_tokens, learning.prompt_tokens
    return Attempted(way, first.run.id, second, why, answer, shown, spent.output_tokens, spent.prompt_tokens, learned)
