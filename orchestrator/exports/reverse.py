"""Reverse-speculative traces: the teacher proposes every token, the student says by its own probability which it takes.

What stands is the teacher's token where the student gives it at least `threshold`, and the student's own draw where it
does not; both go on behind what stands. So no token of a trace surprises the student, which can follow it all. What a
journal holds cannot be made into one: an engine's probabilities are there of its own tokens only, and behind a token
that is replaced the teacher would have gone on otherwise.

The student writes along: as long as both write the same, one call of each serves for several tokens. The calls are a
run of the journal, within the pipeline's budget, and made once: a command that was killed goes on in mid-trace.

One line of a trace that ended by itself and whose answer is the gold one:

    messages   the task, and the trace, see chat.py
    source     id of the run whose task it is; `run` is that of the trace
    student    what the engines serve
    teacher
    threshold  in (0, 1]
    tokens     of the trace, each of them
    accepted   the teacher's, which the student takes, or
    replaced   the student's, because its probability of the teacher's is less, or
    unread     the student's, because it did not show its probability of the teacher's, nor how small it has to be
    prob       geometric mean of the student's probabilities of the tokens that stand, in (0, 1]

Source: Reverse Speculative Decoding, arXiv:2509.22230 (the rule, and that traces are made for one student: another one
gains nothing). Differs: the end of the text is not put to the student, who takes the teacher's, and ends the trace by
an end of its own, behind which it shows no probabilities; a probability is that of the distribution before temperature
and top_p; a token whose probability cannot be known, because it is not among those shown, is refused, and counted;
`threshold` is an option, as its best value is the student's own; wrong and unfinished traces are left out whole.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from json import dumps, loads
from math import exp
from time import time
from typing import Any

from orchestrator.engines.base import Completion
from orchestrator.errors import ContextExceeded, EngineProtocol, LimitExceeded, MissingCapability, UserError
from orchestrator.exports.chat import Message, chat_of
from orchestrator.exports.choosing import Chosen
from orchestrator.exports.lines import LeftOut, Line, checked
from orchestrator.exports.sft import check_right
from orchestrator.memory.base import EventRow
from orchestrator.memory.ids import derived
from orchestrator.options import check_range, check_whole
from orchestrator.runtime.ending import conclude
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.run import Run
from orchestrator.runtime.step import finish, keep_step
from orchestrator.runtime.tasks import fingerprint
from orchestrator.runtime.workers import side_by_side
from orchestrator.types import Status, Step, Stop, Task, TokenLogprob

__all__ = ["REVERSED", "Reverse", "ReverseLine", "Trace", "Traces", "chance"]

REVERSED = "reversed"
"""Kind of the event that has a trace's figures, and how the batch begins that its run is in."""
_PROPOSED, _SHOWN = 16, 8
"""Tokens that the teacher writes in one call, and the student: what is behind a disagreement is thrown away."""
_ALTERNATIVES = 20
"""Per token of the student; vLLM shows no more unless told to. What they leave over bounds what is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse:
    """How traces are made. Raises UserError for options that mean nothing."""

    threshold: float = 0.01
    """Least probability of a token of the teacher's, in (0, 1]; one that has exactly this is taken."""
    length: int = 4096
    """Tokens of a trace; one that reaches it is left out."""

    def __post_init__(self) -> None:
        check_range("reverse", self, threshold="(0, 1]")
        check_whole("reverse", self, length=1)


class ReverseLine(Line):
    """One line of the export."""

    messages: list[Message]
    source: str
    student: str
    teacher: str
    threshold: float
    tokens: int
    accepted: int
    replaced: int
    unread: int
    prob: float


@dataclass(slots=True, kw_only=True)
class Trace:
    """A trace that is being written."""

    text: str = ""
    ids: list[int]
    accepted: int = 0
    replaced: int = 0
    unread: int = 0
    logprob: float = 0.0
    """Sum of the student's, of the tokens that stand."""
    stop: Stop = Stop.LENGTH
    reason: str = "the trace is as long as it may be"

    def keep(self, token: TokenLogprob) -> None:
        """Let a token stand, with what the student says of it."""
        self.ids.append(token.id)
        self.text += token.text
        self.logprob += token.logprob

    def end(self, who: str) -> None:
        """Note who ended the text."""
        self.stop, self.reason = Stop.END, f"the {who} ended its text"


def chance(shown: TokenLogprob, id: int, threshold: float) -> float | None:
    """Return the student's probability of a token at a place where it shows its own and the likeliest.

    Of a token that it does not show, what it can be at most, if that is below `threshold`; else None: nobody knows.
    """
    if (found := _among(shown, id)) is not None:
        return exp(found.logprob)
    probs = [exp(each.logprob) for each in shown.top]
    at_most = max(0.0, min(min(probs), 1 - sum(probs))) if probs else 1.0
    return at_most if at_most < threshold else None


def _among(shown: TokenLogprob, id: int) -> TokenLogprob | None:
    return next((each for each in (shown, *shown.top) if each.id == id), None)


class Traces:
    """Makes traces of tasks. `pipeline` lends engines, budget and journal: its smallest is the student, its largest
    the teacher."""

    def __init__(self, pipeline: Pipeline, options: Reverse) -> None:
        """Raises UserError where there are no two engines."""
        if len(pipeline.writers) < 2:
            raise UserError("reverse: a student and a teacher are needed: give two engines that write")
        self._student, *_, self._teacher = pipeline.writers
        self._options = options
        self._pipeline = pipeline.but(
            router="small", monitors=(), tools=(), mode=None, handbook=None, stop_on_answer=False
        )

    async def check(self) -> None:
        """Raise MissingCapability if the engines do not share their tokens, or the student hides its probabilities."""
        can = await self._pipeline.start()
        student, teacher = can[self._student], can[self._teacher]
        if not student.tokenizer or student.tokenizer != teacher.tokenizer:
            raise MissingCapability(
                f"reverse: engines {self._student!r} and {self._teacher!r} have different tokenizers, so the student "
                "cannot judge the teacher's tokens: take two models of one family"
            )
        if not student.logprobs:
            why = student.missing.get("logprobs", "its server returns none")
            raise MissingCapability(f"reverse: engine {self._student!r} shows no probabilities ({why})")

    def run_id(self, task: Task) -> str:
        """Return the id of the run that writes the trace of a task: the same for the same engines and options."""
        return derived(REVERSED, self._pipeline.settings, dumps(asdict(self._options)), fingerprint(task))

    @staticmethod
    def check_source(source: Chosen) -> None:
        """Raise LeftOut for a run with tools: what they answer is no text that a teacher could propose."""
        if loads(source.stored.run.settings).get("tools"):
            raise LeftOut("they had tools, and a trace is written without any")

    async def write_all(self, sources: Iterable[Chosen], concurrency: int, left: Counter[str]) -> list[Chosen]:
        """Write the traces of the tasks, each once, and return a run of each task, in order; why others are left out
        goes into `left`. Raises EngineError."""
        found: dict[str, Chosen] = {}
        for source in sources:
            try:
                self.check_source(source)
            except LeftOut as why:
                left[str(why)] += 1
                continue
            if fingerprint(source.task) in found:
                left["an earlier run has the same task"] += 1
                continue
            bare = source.stored._replace(calls=(), signals=(), decisions=(), steps=(), events=())  # all are in memory
            found[fingerprint(source.task)] = source._replace(stored=bare)
        waiting = iter(found.values())

        async def work() -> None:
            for source in waiting:
                await self.write(source.task)

        await side_by_side(work, concurrency)
        return [*found.values()]

    async def write(self, task: Task) -> None:
        """Write the trace of a task; what is in the journal is not written again. Raises EngineError."""
        async with self._pipeline.lent(task, run_id=self.run_id(task), batch=REVERSED) as run:
            if run.outcome is not None:
                return
            trace, status = Trace(ids=[]), None
            try:
                await self._write(run, trace)
            except (LimitExceeded, ContextExceeded) as error:
                trace.reason = str(error)
            if trace.stop is Stop.LENGTH:
                status = Status.BUDGET
            self._note(run, trace)
            if trace.ids:
                keep_step(run, self._step(trace))
            finish(run, status, trace.reason)
            await conclude(run)

    async def _write(self, run: Run, trace: Trace) -> None:
        """Write until an engine ends the text, or the trace is as long as it may be."""
        threshold, numbers = self._options.threshold, count()
        alternatives = min(_ALTERNATIVES, run.shows[self._student])
        begun = {name: await run.stream.prefix(name) for name in (self._student, self._teacher)}

        async def ask(engine: str, purpose: str, tokens: int, logprobs: int = 0) -> Completion:
            return await run.call(
                engine,
                purpose,
                begun[engine].extended(trace.ids),
                place=(0, next(numbers)),
                sampling=run.samplings[engine],
                max_tokens=tokens,
                logprobs=logprobs,
            )

        proposed: deque[int | None] = deque()
        shown: deque[TokenLogprob | None] = deque()
        while len(trace.ids) < self._options.length:
            if not proposed:
                wrote = await ask(self._teacher, "propose", _PROPOSED)
                proposed.extend(_and_end(self._teacher, wrote, wrote.ids))
            if not shown:
                wrote = await ask(self._student, "accept", _SHOWN, alternatives)
                shown.extend(_and_end(self._student, wrote, wrote.logprobs or ()))
            token, own = proposed.popleft(), shown.popleft()
            if token is None or own is None:
                return trace.end("teacher" if token is None else "student")
            probability = chance(own, token, threshold)
            theirs = _among(own, token)
            if probability is not None and probability >= threshold and theirs is not None:
                trace.accepted += 1
                trace.keep(theirs)
            else:
                trace.replaced += probability is not None
                trace.unread += probability is None
                trace.keep(own)
            if trace.ids[-1] != token:
                proposed.clear()
            if trace.ids[-1] != own.id:
                shown.clear()

    def _note(self, run: Run, trace: Trace) -> None:
        counts = {name: getattr(trace, name) for name in ("accepted", "replaced", "unread")}
        told = f"{len(trace.ids)} tokens: " + ", ".join(f"{number} {name}" for name, number in counts.items())
        figures = {
            "reason": told,
            **counts,
            "tokens": len(trace.ids),
            "threshold": self._options.threshold,
            "prob": exp(trace.logprob / len(trace.ids)) if trace.ids else 1.0,
        }
        run.journal.event(EventRow(run.key, 0, REVERSED, dumps(figures), time()))

    def _step(self, trace: Trace) -> Step:
        return Step(
            index=0,
            attempt=0,
            writer=self._student,
            text=trace.text,
            ids=trace.ids,
            num_tokens=len(trace.ids),
            stop=trace.stop,
        )

    def line(self, source: Chosen) -> dict[str, Any]:
        """Return the line of a task whose trace was written.

        Raises LeftOut if it is not there, did not end by itself, or is not known to be right.
        """
        stored = self._pipeline.journal.stored(self.run_id(source.task))
        if stored is None or stored.outcome is None:
            raise LeftOut("their traces were not written")
        if stored.outcome.status != Status.COMPLETED:
            raise LeftOut(f"their traces have the status {stored.outcome.status}")
        trace = source._replace(stored=stored, reward=None)
        check_right(trace)
        if "\ufffd" in "".join(row.text for row in stored.kept()):
            raise LeftOut("characters in their traces are broken into tokens that have no text of their own")
        figures = next(loads(event.detail) for event in stored.events if event.kind == REVERSED)
        serves = {name: can["model"] for name, can in loads(stored.run.engines).items()}
        return checked(
            ReverseLine,
            **trace.about,
            messages=chat_of(stored, source.task).messages,
            source=source.stored.run.id,
            student=serves[self._student],
            teacher=serves[self._teacher],
            **{name: value for name, value in figures.items() if name != "reason"},
        )


def _and_end(name: str, wrote: Completion, tokens: Sequence[Any]) -> list[Any]:
    """Return what a call shows of the text, token by token, with None behind its last one where the text ends.

    Raises EngineProtocol if that is nothing.
    """
    is_whole = wrote.stop is Stop.END and len(tokens) == len(wrote.ids)
    found = [*tokens, *([None] if is_whole else [])]
    if not found:
        raise EngineProtocol(f"engine {name!r} wrote nothing that could be judged, and did not end", engine=name)
    return found
