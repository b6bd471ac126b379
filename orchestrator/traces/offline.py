"""What can a stored run say in the place of its engines?  `Ask` answered from the record, or Undecided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from orchestrator.doors import Choice, Trial
from orchestrator.engines.answer_probe import braced
from orchestrator.errors import EngineError, OrchestratorError, SignalUnavailable, UnknownName
from orchestrator.memory.base import CallResult
from orchestrator.runtime.answer import extractor
from orchestrator.runtime.ask import ANSWERS
from orchestrator.runtime.calls import call_seed
from orchestrator.runtime.marks import BAND, plain
from orchestrator.runtime.resume import signal_of
from orchestrator.traces.by_place import Place, Record
from orchestrator.types import History, Signal, Step

__all__ = ["StoredAsk", "Undecided"]

PROBE = "probe"
"""Purpose of the calls that force an answer."""


class Undecided(OrchestratorError):
    """The record does not hold what a decision would need; the message says what."""


class StoredAsk:
    """Answers a router's questions about the candidates of one step from a stored run."""

    def __init__(self, record: Record, history: History, attempt: int) -> None:
        self.heard: set[tuple[str, Place]] = set()
        """What was asked for, as scorer, engine or `answers`, and where the calls behind it are."""
        self._record = record
        self._history = history
        self._attempt = attempt

    @overload
    async def score(self, name: str, draft: Step) -> Signal: ...
    @overload
    async def score(self, name: str, draft: Sequence[Step]) -> list[Signal]: ...
    async def score(self, name: str, draft: Step | Sequence[Step]) -> Signal | list[Signal]:
        """Return the stored score. Raises SignalUnavailable as the run did, or Undecided if nobody asked."""
        if isinstance(draft, Step):
            return self._score(name, draft)
        return [self._score(name, each) for each in draft]

    async def alternative(self, engine: str, draft: Step, *, sample: int = 0) -> Step:
        """Return what was written beside the draft. Raises EngineError as the run did, or Undecided if nothing was."""
        writers = self._history.engines
        if engine not in writers:
            raise UnknownName(f"the router asks engine {engine!r} for an alternative; the run has {', '.join(writers)}")
        place = draft.index, BAND * (1 + writers.index(engine) + len(writers) * sample) + plain(draft.attempt)
        step = self._record.step(place)
        if step is None:
            if error := self._record.error(place):
                raise EngineError(error, engine=engine)
            raise Undecided(f"{engine} did not write beside the draft of step {draft.index}")
        self.heard.add((engine, place))
        return step

    async def answers(self, engine: str, draft: Step | None = None, *, num: int = 1) -> list[str]:
        """Return the answers that were forced. Raises SignalUnavailable as the run did, or Undecided if none were."""
        place = self._place(draft)
        unit = f"share of {num} by {engine}{'' if draft else ', without the draft'}"
        signal = next(
            (row for row in self._record.stored.signals if (*row[1:3], row.name, row.unit) == (*place, ANSWERS, unit)),
            None,
        )
        if signal is None:
            raise Undecided(f"{engine} was not made to answer {num} times at step {place[0]}")
        self.heard.add((ANSWERS, place))
        found = [self._sampled(engine, place, number) for number in range(num)]
        if signal.value is None and not any(found):
            raise SignalUnavailable(ANSWERS, signal.reason)
        return [answer for answer in found if answer is not None]

    def answer_in(self, text: str) -> str | None:
        """Return the answer in a text, as the run looked for it. Raises Undecided where a function of its own did."""
        wanted = self._record.settings["answer"]
        try:
            return extractor(wanted)(text)
        except UnknownName as unknown:
            raise Undecided(f"the run looked for answers by a function of its own, {wanted!r:.60}") from unknown

    async def trials(
        self, engine: str, draft: Step | None = None, *, before: Step | None = None, num: int = 1
    ) -> list[Trial]:
        """Raise Undecided: the record does not say which trial was whose."""
        raise Undecided(f"trial answers of {engine} are not stored in a form that can be read back")

    async def choose(self, engine: str, question: str, words: Sequence[str], *, of_task: bool = True) -> Choice:
        """Raise Undecided: the record does not say which question was whose."""
        raise Undecided(f"choices of {engine} are not stored in a form that can be read back")

    def _score(self, name: str, draft: Step) -> Signal:
        is_kept = draft.index < len(self._history.steps)
        place = self._place(draft)
        row = self._record.signals.get((*place, f"{name}@{draft.index}" if is_kept else name))
        if row is None:
            raise Undecided(f"{name} did not score {draft.writer}'s step {draft.index}")
        self.heard.add((name, place))
        if row.value is None:
            raise SignalUnavailable(name, row.reason)
        return signal_of(row)

    def _place(self, draft: Step | None) -> Place:
        """Return where a call about a draft is stored; one about kept steps is at the step that follows them."""
        index = len(self._history.steps)
        if draft is not None and draft.index >= index:
            return draft.index, draft.attempt
        return index, self._attempt

    def _sampled(self, engine: str, place: Place, number: int) -> str | None:
        seed = call_seed(self._history.seed, place[0], f"{PROBE} {number}" if number else PROBE, place[1])
        parts: dict[bytes, CallResult] = {}
        for intent, result in self._record.calls(place):
            if (intent.purpose, intent.engine, intent.seed) == (PROBE, engine, seed) and result is not None:
                parts[intent.digest] = result
        texts = [each.text for each in parts.values() if each.status == "done"]
        if len(texts) > 1 and any(braced(text) is not None for text in texts[:-1]):
            raise Undecided(
                f"{engine} was made to answer twice at step {place[0]}: whose answer is whose is not stored"
            )
        return (braced("".join(texts)) or "").strip() or None
