"""How a router gets signals: each ask is metered, cached per draft, and written to the trace."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, overload

from orchestrator.errors import EngineError, SignalUnavailable, UserError
from orchestrator.memory.base import SignalRow
from orchestrator.types import Signal, Step

if TYPE_CHECKING:
    from orchestrator.engines.scorers.base import Scorer
    from orchestrator.runtime.run import Run

__all__ = ["DraftAsk"]


class DraftAsk:
    """Answers a router's questions about the drafts of one step."""

    def __init__(self, run: Run, scorers: Mapping[str, Scorer]) -> None:
        self._run = run
        self._scorers = scorers
        self._asked: dict[tuple[str, int], asyncio.Future[Signal]] = {}

    @overload
    async def score(self, name: str, draft: Step) -> Signal: ...
    @overload
    async def score(self, name: str, draft: Sequence[Step]) -> list[Signal]: ...
    async def score(self, name: str, draft: Step | Sequence[Step]) -> Signal | list[Signal]:
        """Score one draft, or several at once. Raises SignalUnavailable."""
        if isinstance(draft, Step):
            return await self._one(name, draft)
        return list(await asyncio.gather(*(self._one(name, each) for each in draft)))

    async def _one(self, name: str, draft: Step) -> Signal:
        key = (name, draft.attempt)
        asked = self._asked.get(key)
        if asked is None or asked.cancelled():
            asked = self._asked[key] = asyncio.get_running_loop().create_future()
            try:
                stored = self._run.stored.signals.get((draft.index, draft.attempt, name))
                asked.set_result(stored or await self._measure(name, draft))
            finally:
                asked.cancel()  # does nothing once there is a result; else whoever waits has to ask anew
        signal = await asked
        if signal.value is None:
            raise SignalUnavailable(name, signal.reason)
        return signal

    async def _measure(self, name: str, draft: Step) -> Signal:
        if name not in self._scorers:
            raise UserError(f"the router asks for scorer {name!r}; the pipeline has {', '.join(self._scorers)}")
        scorer = self._scorers[name]
        run = self._run
        engine = scorer.engine or run.history.large
        try:
            signal = await scorer.score(
                engine, run.stream, draft, partial(run.call, place=(draft.index, draft.attempt))
            )
        except SignalUnavailable as missing:
            signal = Signal(name=name, value=None, reason=missing.reason)
        except EngineError as error:
            signal = Signal(name=name, value=None, reason=str(error))
        run.journal.signal(
            SignalRow(
                run.key,
                draft.index,
                draft.attempt,
                name,
                signal.value,
                signal.raw,
                signal.unit,
                signal.reason,
                signal.output_tokens,
                signal.seconds,
            )
        )
        return signal
