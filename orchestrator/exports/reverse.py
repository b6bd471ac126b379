"""Reverse-speculative traces: what a teacher writes, in tokens that its student finds likely enough to follow.

No token of a trace surprises the student it was made for, see reversing.py; another student gains nothing from it.
What a journal holds cannot be made into one: an engine's probabilities are there of its own tokens only, and behind a
token that is replaced the teacher would have gone on otherwise. So traces are written anew, for the tasks of stored
runs, by live engines. The calls are a run of the journal, within the pipeline's budget, and made once: a command that
was killed goes on in mid-trace.

One line of a trace that ended by itself and is right:

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

Source: Reverse Speculative Decoding, arXiv:2509.22230. Differs: as reversing.py says; wrong and unfinished traces are
left out whole, and so are tasks with tools.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from json import dumps, loads
from time import time
from typing import Any

from orchestrator.errors import MissingCapability, UserError
from orchestrator.exports.chat import Message, chat_of
from orchestrator.exports.choosing import REVERSED, Chosen
from orchestrator.exports.lines import LeftOut, Line, checked
from orchestrator.exports.reversing import Reverse, Trace, traced
from orchestrator.exports.sft import check_right
from orchestrator.memory.base import EventRow
from orchestrator.memory.ids import derived
from orchestrator.runtime.ending import conclude
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.run import Run
from orchestrator.runtime.step import finish, keep_step
from orchestrator.runtime.tasks import fingerprint
from orchestrator.runtime.workers import side_by_side
from orchestrator.types import Status, Step, Stop, Task

__all__ = ["ReverseLine", "Traces"]


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

    async def write_all(self, sources: Iterable[Chosen], concurrency: int, left: Counter[str]) -> list[Chosen]:
        """Write the traces of the tasks, each once, and return a run of each task, in order; why others are left out
        goes into `left`. Raises EngineError."""
        found: dict[str, Chosen] = {}
        for source in sources:
            if loads(source.stored.run.settings).get("tools"):  # what they answer, no teacher could propose
                left["they had tools, and a trace is written without any"] += 1
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
            trace = await traced(run, self._student, self._teacher, self._options)
            self._note(run, trace)
            if trace.ids:
                keep_step(run, self._step(trace))
            finish(run, None if trace.stop is Stop.END else Status.BUDGET, trace.reason)
            await conclude(run)

    def _note(self, run: Run, trace: Trace) -> None:
        counts = {"accepted": trace.accepted, "replaced": trace.replaced, "unread": trace.unread}
        told = f"{len(trace.ids)} tokens: " + ", ".join(f"{number} {name}" for name, number in counts.items())
        figures = {"tokens": len(trace.ids), **counts, "threshold": self._options.threshold, "prob": trace.prob}
        run.journal.event(EventRow(run.key, 0, REVERSED, dumps({"reason": told, **figures}), time()))

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
