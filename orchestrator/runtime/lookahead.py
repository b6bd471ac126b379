"""Drafting ahead while a verdict is pending, and rewriting before it has come.

While the router thinks about a draft, a copy of the run is led on as if the draft stood: the same functions plan and
write the next steps, but what they decide and measure is noted nowhere, and their calls are AheadCalls. If the draft
stands, the next step's turn decides everything anew, and finds its calls answered or under way. If it does not, the
copy is forgotten and its calls are dropped. So the text that is kept cannot differ from that of a run without
overlap, and nothing that a copy made is part of a later prompt but as the very call that its turn asks for.

A copy goes wrong wherever the run would go wrong: it ends there, unheard, and the turn tells. Router and monitors
are asked about a history that may never come to be; both are functions of it and keep no state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar, cast

from orchestrator.decisions import Decision, Keep, Rewrite
from orchestrator.engines.step_stream import StepStream
from orchestrator.errors import UserError
from orchestrator.memory.journal import Journal
from orchestrator.routers.base import keep_all
from orchestrator.runtime.ahead import AheadCalls, end_of
from orchestrator.runtime.alternative import Adopt
from orchestrator.runtime.calls import Calls
from orchestrator.runtime.deciding import decide
from orchestrator.runtime.interrupts import outside_graph
from orchestrator.runtime.readings import Readings
from orchestrator.runtime.run import Run, Stored, Turn
from orchestrator.runtime.step import rewriting
from orchestrator.runtime.watch import advance
from orchestrator.runtime.write import write
from orchestrator.types import History, Overlap, Step

__all__ = ["LookAhead"]

FEW_VERDICTS = 4
"""Verdicts that a run must have seen before their share of rejections says anything."""

T = TypeVar("T")


class LookAhead:
    """What a run has begun before its turn. Its tasks end with the run at the latest."""

    def __init__(self, run: Run, overlap: Overlap) -> None:
        self._run = run
        self._overlap = overlap
        self._calls = run.call.ahead = AheadCalls(run.call)
        self._pending: Step | None = None
        """The draft whose verdict the run waits for."""
        self._steps: list[_Ahead] = []
        """The steps behind it, in order; the last one may be under way."""
        self._rewriting: tuple[Turn, asyncio.Task[Step]] | None = None
        """The turn that would write in its place, and the writing."""
        self._tasks: set[asyncio.Task[Any]] = set()

    # ---- what the run's turns ask

    async def join(self, turn: Turn) -> None:
        """Wait for what was begun of the step that `turn` is about to write; what was begun otherwise is dropped."""
        if self._rewriting is not None and self._rewriting[0] == turn:
            await end_of(self._rewriting[1])
            self._rewriting = None
        elif self._steps:
            first = self._steps[0]
            if first.behind.turn in (None, turn):
                await end_of(first.written)
            if first.behind.turn != turn:
                self._forget_steps("another turn came")

    async def go_on(self, turn: Turn, draft: Step) -> None:
        """Begin what can be done while the verdict on `draft` is pending; wait for it if it was asked for ahead."""
        self._pending = draft
        if self._steps and (self._steps[0].draft is None or self._steps[0].draft.text != draft.text):
            self._forget_steps("another draft came")
        first = self._steps.pop(0) if self._steps else None
        if (draft.index, draft.attempt, "after_draft") in self._run.stored.decisions:
            return
        if self._run.doors.after_draft is not keep_all:
            self._begin_rewriting(turn, draft)
            self._extend()
        if first is not None and first.judged is not None:
            await end_of(first.judged)

    def decided(self, turn: Turn, decision: Decision) -> None:
        """Drop what `decision` about the pending draft has made useless."""
        if not isinstance(decision, Keep):
            self._forget_steps(f"behind a draft that did not stand: {decision.action}")
        if self._rewriting is None or self._pending is None:
            return
        began, index = self._rewriting[0], self._pending.index
        if (
            not isinstance(decision, Rewrite)
            or isinstance(decision, Adopt)
            or began != rewriting(turn, self._pending, decision.engine, decision.max_tokens)
        ):
            self._rewriting[1].cancel()
            self._rewriting = None
            self._calls.drop(lambda place: place == (index, began.attempt), index, f"no rewrite: {decision.action}")

    def forget(self, reason: str) -> None:
        """Drop everything: the run ends, or goes back."""
        for task in self._tasks:
            task.cancel()
        self._steps, self._rewriting, self._pending = [], None, None
        self._calls.drop(lambda place: True, len(self._run.history.steps), reason)

    async def rest(self) -> None:
        """Return when nothing that was dropped is under way any more: then its cost is known."""
        await end_of(*self._tasks)
        await self._calls.rest()

    async def abandon(self) -> None:
        """Cancel everything, for a run that somebody may go on with from the journal, which has all that was done."""
        self._pending = None
        for task in self._tasks:
            task.cancel()
        self._calls.cancel()
        await self.rest()

    # ---- going on behind drafts that are pending

    def _extend(self) -> None:
        """Begin the next step and the next verdicts, as far as the run may look ahead."""
        if self._pending is None:
            return
        limit = self._pending.index + self._overlap.ahead
        behind = self._behind_the_last()
        if behind is not None and len(behind.history.steps) <= limit:
            self._steps.append(_Ahead(behind, self._begin(_write_next(behind))))
        for each in self._steps:
            if each.judged is None and each.draft is not None and each.draft.index < limit:
                each.judged = self._begin(decide(_copy(each.behind, turn=each.behind.turn), each.draft))

    def _behind_the_last(self) -> Run | None:
        """Return a copy of the run in which the last draft there is stands, None while or where there is none."""
        assert self._pending is not None
        if not self._steps:
            return _behind(self._run, self._pending, self._calls)
        last = self._steps[-1]
        return None if last.draft is None or last.is_rejected else _behind(last.behind, last.draft, self._calls)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, context=outside_graph())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is not None:
            return  # whatever it was: the turn will meet it again, and tell
        for place, each in enumerate(self._steps):
            if each.judged is task and each.is_rejected:
                self._forget_steps("behind a draft that will not stand", place + 1)
        if any(task in (each.written, each.judged) for each in self._steps):
            self._extend()

    def _forget_steps(self, reason: str, first: int = 0) -> None:
        over = self._steps[first:]
        if not over:
            return
        del self._steps[first:]
        for each in over:
            each.cancel()
        index = len(over[0].behind.history.steps)
        self._calls.drop(lambda place: place[0] >= index, index, reason)

    # ---- rewriting before it is known to be needed

    def _begin_rewriting(self, turn: Turn, draft: Step) -> None:
        engine = self._run.history.large
        if self._overlap.hedge is None or draft.writer == engine:
            return
        chance = self._chance(draft)
        if chance is None or chance < self._overlap.hedge:
            return
        began = rewriting(turn, draft, engine)
        copy = _copy(self._run, call=self._calls, turn=began)
        self._rewriting = (began, self._begin(write(copy, began)))

    def _chance(self, draft: Step) -> float | None:
        """Return how likely `draft` is rejected, None where nothing says."""
        prior, seen = self._run.doors.prior, self._run.verdicts
        if prior is None:
            return None if len(seen) < FEW_VERDICTS else 1 - sum(seen) / len(seen)
        chance = prior(self._run.history, draft)
        if not 0 <= chance <= 1:
            raise UserError(f"{self._run.doors.policy}: its prior is {chance!r}, not a chance in [0, 1]")
        return chance


class _Ahead:
    """A step that is written before its turn."""

    def __init__(self, behind: Run, written: asyncio.Task[Step | None]) -> None:
        self.behind = behind
        """The copy of the run that writes it: everything before it stands there."""
        self.written = written
        """None comes of it where the run writes no draft there."""
        self.judged: asyncio.Task[Decision] | None = None

    @property
    def draft(self) -> Step | None:
        """What was written; None while it is not, or where nothing came of it."""
        return _result_of(self.written)

    @property
    def is_rejected(self) -> bool:
        """Whether the verdict is known by now, and is not to keep it."""
        decision = None if self.judged is None else _result_of(self.judged)
        return decision is not None and not isinstance(decision, Keep)

    def cancel(self) -> None:
        self.written.cancel()
        if self.judged is not None:
            self.judged.cancel()


async def _write_next(run: Run) -> Step | None:
    """Write the step behind the last one of a copy, if the run goes on and an engine is to draft it."""
    advance(run)
    turn = run.turn
    return None if turn is None or turn.stands else await write(run, turn)


def _behind(run: Run, draft: Step, calls: AheadCalls) -> Run:
    """Return a copy of `run` in which `draft` stands."""
    kept = run.history
    return _copy(
        run,
        history=replace(kept, steps=[*kept.steps, draft], num_tokens=kept.num_tokens + draft.num_tokens),
        stream=run.stream.ahead(draft),
        call=calls,
    )


def _copy(
    run: Run,
    *,
    turn: Turn | None = None,
    history: History | None = None,
    stream: StepStream | None = None,
    call: Calls | None = None,
) -> Run:
    """Return a copy of `run` that leaves no trace, with what else is to be different."""
    return replace(
        run,
        turn=turn,
        history=history or run.history,
        stream=stream or run.stream,
        call=call or run.call,
        journal=cast(Journal, _Nowhere()),
        stored=Stored(),
        listeners=[],
        written=[],
        failed_engines=set(),
        alternatives={},
        leads=dict(run.leads),
        readings=Readings(),
        ending=None,
        error=None,
        ahead=None,
    )


class _Nowhere:
    """A journal for what a copy decides, measures and notices: its turn will note it."""

    def signal(self, row: Any) -> None: ...
    def decision(self, row: Any) -> None: ...
    def event(self, row: Any) -> None: ...
    def commit(self, run: int | None = None) -> None: ...


def _result_of(task: asyncio.Task[T]) -> T | None:
    is_there = task.done() and not task.cancelled() and task.exception() is None
    return task.result() if is_there else None
