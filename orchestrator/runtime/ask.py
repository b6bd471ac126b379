"""How policies get signals, alternatives and answers: each ask is metered, cached per draft, and in the trace."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from orchestrator.doors import Choice, Trial
from orchestrator.engines.answer_probe import AnswerProbe, Said
from orchestrator.engines.choice_probe import CHOICE, ChoiceProbe
from orchestrator.engines.scorers.judge import GREEDY
from orchestrator.errors import EngineError, SignalUnavailable, UnknownName, UserError
from orchestrator.memory.base import SignalRow
from orchestrator.runtime.alternative import alternative
from orchestrator.runtime.write import write
from orchestrator.types import Signal, Step

if TYPE_CHECKING:
    from orchestrator.engines.scorers.base import Scorer
    from orchestrator.runtime.run import Run, Turn

__all__ = ["ANSWERS", "DraftAsk", "all_of"]

T = TypeVar("T")

ANSWERS = "answers"
"""Name of the signal that forced answers leave in the trace."""
_ALTERNATIVES = 20
"""Alternatives per token that say how sure an engine is of an answer; vLLM shows no more by default."""
_SILENT = "no sample held an answer"


class DraftAsk:
    """Answers a router's questions about the candidates of one step. The draft in hand is that of the run's turn."""

    def __init__(self, run: Run, scorers: Mapping[str, Scorer]) -> None:
        self._run = run
        self._attempt = run.turn.attempt if run.turn else 0  # a late monitor may ask in a later turn
        self._scorers = scorers
        self._asked: dict[Hashable, asyncio.Future[Any]] = {}

    @overload
    async def score(self, name: str, draft: Step) -> Signal: ...
    @overload
    async def score(self, name: str, draft: Sequence[Step]) -> list[Signal]: ...
    async def score(self, name: str, draft: Step | Sequence[Step]) -> Signal | list[Signal]:
        """Score one draft, or several at once. Raises SignalUnavailable."""
        if isinstance(draft, Step):
            return await self._one(name, draft)
        return await all_of([asyncio.ensure_future(self._one(name, each)) for each in draft])

    async def alternative(self, engine: str, draft: Step, *, sample: int = 0) -> Step:
        """Return what `engine` writes in the place of `draft`. Raises EngineError; asked again, the same one."""
        turn = alternative(self._run, draft, engine, sample)
        return await self._once((turn.attempt,), partial(self._beside, draft.index, turn))

    async def answers(self, engine: str, draft: Step | None = None, *, num: int = 1) -> list[str]:
        """Return the answers that `engine` gives behind the kept steps and `draft`: the first sample is greedy.

        Raises SignalUnavailable where the thought cannot be closed, or the engine fails.
        """
        self._check_asked(engine, num)
        asked = (ANSWERS, engine, draft and draft.attempt, num)
        answers, signal = await self._once(asked, partial(self._answered, engine, draft, num))
        if signal.value is None and signal.reason != _SILENT:
            raise SignalUnavailable(ANSWERS, signal.reason)
        return list(answers)

    async def trials(
        self, engine: str, draft: Step | None = None, *, before: Step | None = None, num: int = 1
    ) -> list[Trial]:
        """Return `num` answers with how sure the engine is of each; the first is greedy. Raises SignalUnavailable."""
        self._check_asked(engine, num)
        place, to_step = self._place(draft), None if before is None else before.index
        try:
            samples = await self._samples(engine, draft, num, place, to_step=to_step, logprobs=self._shown(engine))
        except EngineError as error:
            raise SignalUnavailable(ANSWERS, str(error)) from error
        return [Trial(each.answer, each.logprob, each.entropy) for each in samples]

    async def choose(self, engine: str, question: str, words: Sequence[str], *, of_task: bool = True) -> Choice:
        """Let `engine` answer a question with one of `words`. Raises SignalUnavailable."""
        self._check_asked(engine)
        run, place = self._run, self._place(None)
        probe = ChoiceProbe(question=question, words=tuple(words), of_task=of_task)
        ask = partial(probe.choose, engine, run.stream, partial(run.call, place=place), logprobs=self._shown(engine))
        try:
            chosen = await self._once((CHOICE, engine, question, tuple(words), of_task), ask)
        except EngineError as error:
            raise SignalUnavailable(CHOICE, str(error)) from error
        return Choice(chosen.word, chosen.share)

    def _shown(self, engine: str) -> int:
        """Return how many alternatives per token are asked for."""
        return min(_ALTERNATIVES, self._run.shows.get(engine, 0))

    def _check_asked(self, engine: str, num: int = 1) -> None:
        if engine not in self._run.samplings:
            known = ", ".join(self._run.samplings)
            raise UnknownName(f"{self._run.doors.policy} asks engine {engine!r} to answer; the pipeline has {known}")
        if num < 1:
            raise UserError(f"{self._run.doors.policy} asks for {num} answers: at least 1")

    def _place(self, draft: Step | None) -> tuple[int, int]:
        """Return where a call about a draft belongs; one about kept steps belongs to the step that follows them."""
        index = len(self._run.history.steps)
        if draft is not None and draft.index >= index:
            return draft.index, draft.attempt
        return index, self._attempt

    def answer_in(self, text: str) -> str | None:
        """Return the answer that the pipeline finds in a text, None for none."""
        return self._run.find_answer(text)

    async def _once(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Return what `make` returns, made once for each key, however many ask for it at a time."""
        asked = self._asked.get(key)
        if asked is None or asked.cancelled():
            asked = self._asked[key] = asyncio.get_running_loop().create_future()
            try:
                asked.set_result(await make())
            except EngineError as error:
                asked.set_exception(error)
            finally:
                asked.cancel()  # does nothing once there is a result; else whoever waits has to ask anew
        return cast(T, await asked)

    # ---- scores

    async def _one(self, name: str, draft: Step) -> Signal:
        signal = await self._once((name, draft.index, draft.attempt), partial(self._scored, name, draft))
        if signal.value is None:
            raise SignalUnavailable(name, signal.reason)
        return signal

    async def _scored(self, name: str, draft: Step) -> Signal:
        told = name if draft.index >= len(self._run.history.steps) else f"{name}@{draft.index}"
        stored = self._run.stored.signals.get((*self._place(draft), told))
        return await self._measure(name, draft, told) if stored is None else _checked(stored)

    async def _measure(self, name: str, draft: Step, told: str) -> Signal:
        if name not in self._scorers:
            raise UserError(f"the router asks for scorer {name!r}; the pipeline has {', '.join(self._scorers)}")
        scorer = self._scorers[name]
        run = self._run
        engine = scorer.engine or run.history.large
        place = self._place(draft)
        try:
            signal = await scorer.score(engine, run.stream, draft, partial(run.call, place=place))
        except SignalUnavailable as missing:
            signal = Signal(name=name, value=None, reason=missing.reason)
        except EngineError as error:
            signal = Signal(name=name, value=None, reason=str(error))
        signal = _checked(signal._replace(name=told))
        self._record(*place, signal)
        return signal

    def _record(self, step: int, attempt: int, signal: Signal) -> None:
        name, value, raw, unit, reason, output_tokens, seconds = signal
        row = SignalRow(self._run.key, step, attempt, name, value, raw, unit, reason, output_tokens, seconds)
        self._run.journal.signal(row)

    # ---- alternatives

    async def _beside(self, index: int, turn: Turn) -> Step:
        step = await write(self._run, turn)
        self._run.alternatives[index, turn.attempt] = step
        return step

    # ---- answers

    async def _answered(self, engine: str, draft: Step | None, num: int) -> tuple[list[str], Signal]:
        """Return the answers and how far they agree; what an earlier session could not have is not asked again."""
        run = self._run
        place = self._place(draft)
        unit = f"share of {num} by {engine}{'' if draft else ', without the draft'}"
        stored = run.stored.probes.get((*place, unit))
        if stored is not None and stored.value is None:
            return [], stored
        said: list[Said] = []
        try:
            said = await self._samples(engine, draft, num, place)
            answers = [each.answer for each in said if each.answer is not None]
            signal = _agreement(answers, num)
        except SignalUnavailable as missing:
            answers, signal = [], Signal(name=ANSWERS, value=None, reason=missing.reason)
        except EngineError as error:
            answers, signal = [], Signal(name=ANSWERS, value=None, reason=str(error))
        signal = signal._replace(
            unit=unit,
            output_tokens=sum(each.output_tokens for each in said),
            seconds=sum(each.seconds for each in said),
        )
        if stored is None:
            self._record(*place, signal)
        return answers, signal

    async def _samples(
        self,
        engine: str,
        draft: Step | None,
        num: int,
        place: tuple[int, int],
        *,
        to_step: int | None = None,
        logprobs: int = 0,
    ) -> list[Said]:
        run = self._run
        if engine in run.chat_only:
            raise SignalUnavailable(ANSWERS, f"engine {engine!r} is chat-only: it cannot go on from a thought")
        probe = AnswerProbe(prompt=run.probes[engine])
        prompt = await probe.prefix(engine, run.stream, draft, to_step=to_step)

        def sample(number: int) -> Coroutine[Any, Any, Said]:
            call = partial(run.call, place=place, drawn_as=(f"probe {number}" if number else "probe", place[1]))
            sampling = replace(run.samplings[engine], max_tokens=None) if number else GREEDY
            key = ("sample", engine, draft and draft.attempt, to_step, number, logprobs)
            return self._once(key, partial(probe.sample, engine, prompt, call, sampling, logprobs=logprobs))

        return await all_of([asyncio.ensure_future(sample(number)) for number in range(num)])


def _checked(signal: Signal) -> Signal:
    """Return a reading as it is, or as unavailable if its numbers are none that anybody could decide by."""
    name, value, raw = signal[:3]
    if value is None:
        return signal
    if not 0 <= value <= 1:  # NaN is not
        return signal._replace(value=None, raw=None, reason=f"{name} answered {value!r}, which is not in [0, 1]")
    if raw is not None and not isfinite(raw):
        return signal._replace(value=None, raw=None, reason=f"{name} read {raw!r}, which is no number")
    return signal


def _agreement(answers: Sequence[str], num: int) -> Signal:
    if not answers:
        return Signal(name=ANSWERS, value=None, reason=_SILENT)
    [(_, most)] = Counter(answers).most_common(1)
    return Signal(name=ANSWERS, value=most / num, raw=most / num)


async def all_of(asked: Sequence[asyncio.Future[T]]) -> list[T]:
    """Return what all of them return. Where one fails the others are cut off, so that no call outlives the ask."""
    try:
        return list(await asyncio.gather(*asked))
    except BaseException:
        for each in asked:
            each.cancel()
        await asyncio.wait(asked)
        raise
