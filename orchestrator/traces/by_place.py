"""What of a stored run is looked up again and again: candidates, readings and decisions by their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from json import dumps, loads
from typing import Any

from orchestrator.doors import Needs
from orchestrator.errors import UserError
from orchestrator.memory.base import (
    REMOVED,
    CallIntent,
    CallResult,
    CallRow,
    DecisionRow,
    SignalRow,
    StepRow,
    StoredRun,
)
from orchestrator.runtime.calls import TOOL, WRITING, completion_of, run_seed
from orchestrator.runtime.fork import inherited
from orchestrator.runtime.hidden import dropped
from orchestrator.runtime.in_force import leads_of
from orchestrator.runtime.opening import task_of
from orchestrator.runtime.resume import step_of
from orchestrator.traces.policy import router_of
from orchestrator.types import History, Mode, Step, StepKind

__all__ = ["Place", "Record", "mode_in"]

Place = tuple[int, int]
"""A step and an attempt at it."""


class Record:
    """One stored run, by place. `ancestors`, oldest first, are the runs it was forked from.

    Steps carry `logprobs` alternatives per token at most; where that is 0 none are read, which takes longer than
    everything else. The kind of a draft that never stood is not stored: it is given as a thought.
    """

    def __init__(
        self,
        stored: StoredRun,
        ancestors: Sequence[StoredRun] = (),
        *,
        logprobs: int = 0,
        instead: Step | None = None,
    ) -> None:
        self.stored = stored
        self.instead = instead
        """A candidate of the same text as the kept step, in whose place it is taken to stand; asked is behind it."""
        self.settings: dict[str, Any] = loads(stored.run.settings)
        self.engines: dict[str, Any] = loads(stored.run.engines)
        specs = self.settings["engines"]
        self.writers = tuple(name for name in self.engines if specs.get(name, {}).get("writes", True))
        self.decisions: dict[tuple[int, int, str], DecisionRow] = {row[1:4]: row for row in stored.decisions}
        self.over = dropped(stored)
        self.drafts: dict[Place, CallIntent] = {}
        """The first call of each draft of the run's own that was not dropped, in the order they were begun."""
        self.signals: dict[tuple[int, int, str], SignalRow] = {}
        for signal in stored.signals:
            self.signals.setdefault((signal.step, signal.attempt, signal.name), signal)
        self.logprobs = logprobs
        """Alternatives per token that steps are read with from here on."""
        self._calls: dict[Place, list[CallRow]] = {}
        self._leads: dict[Place, Any] = {}
        self.begun_with = len(inherited(stored))
        """Steps that it began with as a fork."""
        for each in (*ancestors, stored):
            if any(event.kind == "lead" for event in each.events):
                self._leads.update(leads_of(each))
            self._add_calls(each, self.over if each is stored else dropped(each))
        self._rows = {(row.step, row.attempt): row for row in stored.steps if row.kind != REMOVED}

    def _add_calls(self, stored: StoredRun, over: Any) -> None:
        found: dict[Place, list[CallRow]] = {}
        for call in stored.calls:
            intent = call.intent
            if intent.seq in over or (stored is not self.stored and intent.step >= self.begun_with):
                continue
            place = intent.step, intent.attempt
            found.setdefault(place, []).append(call)
            if stored is self.stored and intent.purpose == "draft":
                self.drafts.setdefault(place, intent)
        self._calls.update(found)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return run_seed(self.settings["seed"], dumps(loads(self.stored.run.task)["messages"]))

    @cached_property
    def _needs(self) -> Needs | None:
        """What the run's own router needed; None where it cannot be made again."""
        try:
            needs: Needs = getattr(router_of(self.stored), "needs", Needs())
            return needs
        except UserError:
            return None

    @cached_property
    def logprobs_asked(self) -> int:
        """Alternatives per token that the drafts of the run were asked for."""
        if self._needs is not None:
            return self._needs.logprobs
        results = (call.result for place in self.drafts for call in self.calls(place))
        drafts = (completion_of(each).logprobs or () for each in results if each is not None and each.logprobs)
        return max((len(token.top) for draft in drafts for token in draft), default=0)

    @property
    def reads_rewrites(self) -> bool:
        """Whether what was written in a draft's place carries logprobs, too."""
        return self._needs is not None and self._needs.reads_rewrites

    def history(self) -> History:
        """Return the history that the run began with: no step, no event, and nothing learned."""
        return History(task=task_of(self.stored), engines=self.writers, seed=self.seed, tools=self._tools())

    def _tools(self) -> tuple[str, ...]:
        tools = self.settings.get("tools")
        if tools is None:
            return ()
        called = (call.intent.engine for call in self.stored.calls if call.intent.purpose == TOOL)
        return tuple(tools["order"]) if "order" in tools else tuple(dict.fromkeys(called)) or ("tools",)

    def calls(self, place: Place) -> Sequence[CallRow]:
        """Return the calls at a place that were not dropped, in order."""
        return self._calls.get(place, ())

    def step(self, place: Place) -> Step | None:
        """Return the candidate, or the kept step, at a place; None where nothing was written there."""
        row = self._rows.get(place)
        if row is not None and row.kind == StepKind.OBSERVATION:
            return step_of(row, [])
        done = [
            call.result
            for call in self.calls(place)
            if call.intent.purpose in WRITING and call.result is not None and call.result.status == "done"
        ]
        lead = self._leads.get(place)
        if row is None and done:
            engine = next(call.intent.engine for call in self.calls(place) if call.intent.purpose in WRITING)
            row = _row(self.stored.key, place, engine, done, lead.text if lead else "")
        if row is None:
            return None
        if not self.logprobs:
            return step_of(row, [each._replace(logprobs=None) if each.logprobs else each for each in done], lead)
        step = step_of(row, done, lead)
        if step.logprobs is None:
            return replace(step, logprobs=[]) if any(each.logprobs for each in done) else step
        return replace(step, logprobs=[each._replace(top=each.top[: self.logprobs]) for each in step.logprobs])

    def standing(self, row: StepRow) -> Step:
        """Return the step of a kept row, or what is taken to stand in its place."""
        if self.instead is not None and self.instead.index == row.step:
            return self.instead
        kept = self.step((row.step, row.attempt))
        assert kept is not None
        return kept

    def error(self, place: Place) -> str:
        """Return why nothing was written at a place, empty where no call there failed."""
        return next((call.result.error for call in self.calls(place) if call.result and call.result.error), "")


def _row(run: int, place: Place, writer: str, results: Sequence[CallResult], lead: str) -> StepRow:
    text = lead + "".join(result.text for result in results)
    tokens, seconds = sum(each.output_tokens for each in results), sum(each.seconds for each in results)
    return StepRow(run, *place, StepKind.THOUGHT.value, writer, text, results[-1].stop, tokens, seconds)


def mode_in(row: DecisionRow) -> Mode:
    """Return the mode that a stored decision chose."""
    return Mode(**loads(row.detail))
