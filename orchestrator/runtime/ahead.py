"""Calls that are sent before their step's turn has come, and what becomes of them.

Such a call has the place, the seed and the prompt that the same call will have in its turn. So the turn does not
look at what was thought up ahead: it goes its way, and where it asks the very call that was begun, it gets that.
What no turn asks for is dropped: cancelled if it still runs, in the ledger as discarded if it had been answered, and
named in an event of the journal, so that a resume knows it from the calls of the same place that count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from json import dumps
from time import time
from typing import Any

from orchestrator.engines.base import Completion
from orchestrator.ledger import Fate
from orchestrator.memory.base import EventRow
from orchestrator.runtime.calls import Asked, Calls, Place, Sent, completion_of
from orchestrator.runtime.hidden import DROPPED

__all__ = ["AheadCalls", "end_of"]


class AheadCalls(Calls):
    """Makes the calls of a step whose turn has not come, for the turn to take. `real` makes those of the turns."""

    def __init__(self, real: Calls) -> None:
        super().__init__(*real.means)
        self._real = real
        self._begun: dict[tuple[Any, ...], list[_Begun]] = {}
        self._ending: set[asyncio.Task[Sent]] = set()

    async def _ask(self, asked: Asked) -> Completion:
        """Begin a call and return its answer. It goes on if whoever waits for it is cancelled: only `drop` ends it.

        It is sent once and never in part: raises LimitExceeded where the budget leaves it less than it asks for.
        """
        if (earlier := self._real.laid_ready(asked)) is not None:
            return completion_of(earlier)
        begun = _Begun(asked)
        begun.task = asyncio.ensure_future(self._sent(begun))
        self._begun.setdefault(_key(asked), []).append(begun)
        return (await asyncio.shield(begun.task)).completion

    async def _sent(self, begun: _Begun) -> Sent:
        asked = begun.asked
        self._check_rest(asked.engine)
        self._spender.reserve_whole(asked.engine, asked.prompt_tokens, asked.request.max_tokens)
        begun.seq = self._real.number()
        return await self._exchange(asked, begun.seq)

    # ---- the turn's side

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way that no turn has asked for, and holds a part of the budget."""
        return bool(self._ending) or any(not begun.is_done for each in self._begun.values() for begun in each)

    async def claim(self, asked: Asked) -> Sent | None:
        """Return what came of `asked` if it was begun ahead, waiting for its end; None if it was not, or failed."""
        key = _key(asked)
        waiting = self._begun.get(key)
        if waiting is None:
            return None
        begun = waiting.pop(0)
        if not waiting:
            del self._begun[key]
        if not begun.is_done:
            try:
                await asyncio.wait([begun.task])
            except asyncio.CancelledError:
                begun.task.cancel()
                await asyncio.wait([begun.task])  # so that what had arrived is booked before the run is let go
                raise
        return begun.answer

    async def make_room(self) -> None:
        """Cancel what is under way, so that what it had reserved is free. What was answered can still be claimed."""
        for each in self._begun.values():
            for begun in each:
                begun.task.cancel()
        await self.rest()

    def drop(self, is_dropped: Callable[[Place], bool], step: int, reason: str) -> None:
        """Give up the calls of every place that `is_dropped` names; those under way end soon. Noted at `step`."""
        seqs = self._real.drop_laid_ready(is_dropped)
        for key, waiting in list(self._begun.items()):
            if is_dropped(waiting[0].asked.place):
                del self._begun[key]
                for begun in waiting:
                    self._give_up(begun)
                    seqs += [] if begun.seq is None else [begun.seq]
        if seqs:
            detail = dumps({"calls": sorted(seqs), "reason": reason})
            self._journal.event(EventRow(self._run, step, DROPPED, detail, time()))

    def _give_up(self, begun: _Begun) -> None:
        if begun.is_done:
            self._book(begun)
            return
        begun.task.cancel()
        self._ending.add(begun.task)
        begun.task.add_done_callback(partial(self._gave_up, begun))

    def _gave_up(self, begun: _Begun, task: asyncio.Task[Sent]) -> None:
        self._ending.discard(task)
        self._book(begun)  # an engine may answer though it was told to stop

    def _book(self, begun: _Begun) -> None:
        """Count an answer that nobody took. One that was cut off or failed has been counted when that happened."""
        if begun.answer is not None:
            asked = begun.asked
            self._ledger.add(asked.engine, asked.request.purpose, Fate.DISCARDED, begun.answer.entry)

    def cancel(self) -> None:
        """Cancel what is under way, without dropping it: a resume finds what was answered, and goes on from there."""
        for waiting in self._begun.values():
            for begun in waiting:
                begun.task.cancel()

    async def rest(self) -> None:
        """Return when nothing that was cancelled is under way any more."""
        await end_of(*[begun.task for each in self._begun.values() for begun in each if begun.is_ending], *self._ending)


async def end_of(*tasks: asyncio.Task[Any]) -> None:
    """Return when the tasks have ended, however they did; those of an event loop that is gone never will."""
    loop = asyncio.get_running_loop()
    if running := [task for task in tasks if not task.done() and task.get_loop() is loop]:
        await asyncio.wait(running)


def _key(asked: Asked) -> tuple[Any, ...]:
    """Return what makes the same text come of two calls of one run."""
    ask = asked.request
    return (asked.key, ask.sampling, ask.max_tokens, ask.stop, ask.logprobs)


class _Begun:
    """A call that was begun ahead and that nobody has taken yet."""

    __slots__ = ("asked", "seq", "task")

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.task: asyncio.Task[Sent]
        self.seq: int | None = None
        """Its number in the journal; None until it was sent."""

    @property
    def is_done(self) -> bool:
        return self.task.done()

    @property
    def is_ending(self) -> bool:
        return not self.task.done() and self.task.cancelling() > 0

    @property
    def answer(self) -> Sent | None:
        """What was answered; None if it was cancelled or failed."""
        if self.task.cancelled() or self.task.exception() is not None:
            return None
        return self.task.result()
