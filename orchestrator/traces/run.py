"""A stored run that a notebook can ask: what was tried and why, what it cost, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UnknownName, UserError
from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.policies import router as router_called
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.trace import Trace
from orchestrator.traces.candidate import Candidate, candidates_of
from orchestrator.traces.diff import Diff, diff_of
from orchestrator.traces.frames import frame
from orchestrator.traces.graph import graph_of
from orchestrator.traces.html_page import page_of, write_page
from orchestrator.traces.policy import router_of
from orchestrator.traces.record import Call, Decision, Event, RunRecord, Signal, recorded
from orchestrator.traces.redact import HidesNothing
from orchestrator.traces.replay import Replayed
from orchestrator.traces.stored_ledger import StoredLedger, ledger_of
from orchestrator.traces.tree import followed
from orchestrator.traces.what_if import WhatIf, one_step
from orchestrator.visible import first_words

if TYPE_CHECKING:
    from networkx import DiGraph
    from pandas import DataFrame

__all__ = ["Run", "of"]

_WORDS = 40


class Run(Trace):
    """One run as it was when it was read; a notebook shows its timeline.

    Texts are what they were, secrets included: `record`, `frame` and `html` are to give away. Its parents, and so a
    fork's first steps, are read when they are asked for: the journal must be open then.
    """

    def __init__(self, journal: Journal, stored: StoredRun) -> None:
        super().__init__(journal, stored.run.id)
        self.stored = stored

    # ---- what was asked, and what came of it

    @property
    def question(self) -> str:
        """What was asked last."""
        return self._told.question

    @property
    def gold(self) -> str | None:
        """The right answer, where the task has one."""
        return self._told.task.answer

    @property
    def answer(self) -> str | None:
        """None if none was found, or the run has not ended."""
        return self._told.outcome.answer if self._told.outcome else None

    @property
    def status(self) -> str:
        """A `Status`, or `unfinished` where it never ended: it was running when it was read, or was interrupted."""
        return self.stored.status

    @property
    def reason(self) -> str:
        """Why it ended; empty if it has not."""
        return self._told.outcome.reason if self._told.outcome else ""

    @property
    def seconds(self) -> float | None:
        """Wall time; None if it has not ended."""
        return self._told.outcome.seconds if self._told.outcome else None

    @property
    def created_s(self) -> float:
        """When it began, in seconds since the epoch."""
        return self._told.created_s

    @property
    def router(self) -> str:
        """Name and version of the policy that chose."""
        return self._told.router

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that shaped it, by name."""
        return self._told.settings

    @property
    def engines(self) -> Mapping[str, Mapping[str, Any]]:
        """What each engine could do, as probed, by its name; the largest is last."""
        return self._told.engines

    @property
    def parent(self) -> Run | None:
        """The run that it was forked from, if it is a fork."""
        return Run(self.journal, self.forked_from[-1]) if self.stored.run.parent else None

    @property
    def ancestors(self) -> list[Run]:
        """The runs that it was forked from, oldest first."""
        return [Run(self.journal, each) for each in self.forked_from]

    # ---- what happened

    @cached_property
    def candidates(self) -> Sequence[Candidate]:
        """Everything that was written for a step, in the order it was begun in, the steps of a fork's parent first."""
        older = self.forked_from
        told = {each.run.id: recorded(each, older[:place], HidesNothing()) for place, each in enumerate(older)}
        return candidates_of(self.stored, older, {**told, self.id: self._told})

    @property
    def steps(self) -> Sequence[Candidate]:
        """The candidates that stand, in order: the run's text."""
        return sorted((each for each in self.candidates if each.stands), key=lambda each: each.step)

    def step(self, number: int) -> Sequence[Candidate]:
        """Return everything that was tried as one step, counted from 0. Raises UnknownName where nothing was."""
        found = [each for each in self.candidates if each.step == number]
        if not found:
            tried = max((each.step for each in self.candidates), default=None)
            known = "nothing was tried" if tried is None else f"its steps are 0 to {tried}"
            raise UnknownName(f"run {self.id} has no step {number!r}: {known}")
        return found

    @property
    def calls(self) -> Sequence[Call]:
        """Every call of an engine or a tool, failed and interrupted ones included, in the order they were sent."""
        return self._told.calls

    @property
    def decisions(self) -> Sequence[Decision]:
        """Who chose what, and why, in order."""
        return self._told.decisions

    @property
    def signals(self) -> Sequence[Signal]:
        """Every measured value, in order."""
        return self._told.signals

    @property
    def events(self) -> Sequence[Event]:
        """What monitors noticed, and what else happened to the run, in order."""
        return self._told.events

    @cached_property
    def ledger(self) -> StoredLedger:
        """What it used, by engine, purpose and fate."""
        return ledger_of(self.stored, list(self.engines))

    # ---- what is made of it

    def html(self, path: str | PathLike[str] | None = None, *, beside: Run | None = None) -> str:
        """Return the page of `orchestrator trace html`, beside another run's if that is given; write it to a new file.

        It is without secrets. Raises UserError if there is a file at `path`.
        """
        page = page_of(*((each.stored, each.forked_from) for each in (self, beside) if each is not None))
        if path is not None:
            write_page(page, path)
        return page

    def graph(self) -> DiGraph:
        """Return it as a networkx graph of what was kept, what was tried beside it, and where it went back."""
        return graph_of(self.stored, self.forked_from)

    def diff(self, other: Trace | str) -> Diff:
        """Return where it parts from another run, given as such or by its name, and what each cost."""
        theirs = Run(self.journal, self.journal.run(other)) if isinstance(other, str) else other
        return diff_of(self.stored, theirs.stored, self.forked_from, theirs.forked_from)

    def replay(self, router: Any = None, **options: Any) -> Replayed:
        """Return what a router, or one by its name with `options`, would have decided; no engine is asked.

        Behind where it parts it is followed in the tree of a `collect --tree`, where there is one.

        Without `router` its own decides again, with other `options`, such as `threshold=5`. Raises UserError where that
        cannot be made again, and for options that the router has not.
        """
        return followed(self.journal, self.stored, _router_for(self.stored, router, options))

    def what_if(self, option: str, values: Sequence[Any]) -> WhatIf:
        """Return how many of its decisions flip at each value of an option of its router, each decision by itself."""
        return one_step([self.stored], option, values, journal=self.journal)

    def record(self) -> RunRecord:
        """Return it as an export has it: without secrets."""
        return recorded(self.stored, self.forked_from)

    def frame(self, table: str = "steps", *, content: bool = False) -> DataFrame:
        """Return one of the tables of an export as a pandas DataFrame; see `orc.traces.frame`."""
        return frame([self.record()], table, content=content)

    @cached_property
    def _told(self) -> RunRecord:
        return recorded(self.stored, self.forked_from, HidesNothing())

    def __repr__(self) -> str:
        return f"<run {self.id} {self.status}: {first_words(self.question, _WORDS)}>"


def of(result: RunResult) -> Run:
    """Return the stored run of a result. The pipeline that it is from must not be closed yet."""
    return Run(result.trace.journal, result.trace.stored)


def _router_for(stored: StoredRun, router: Any, options: Mapping[str, Any]) -> Any:
    """Return the router that decides a stored run again: its own, one by its name, or the one that is given.

    Raises UserError for options of a router that has been made already.
    """
    if router is None:
        return router_of(stored, **options)
    if isinstance(router, str):
        return router_called(router, options, "replay")
    if options:
        raise UserError(f"{', '.join(options)}: a router that is made already takes no options, give its name")
    return router
