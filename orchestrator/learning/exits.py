"""Where could it have stopped?  Labels for exits, from runs that were watched while they thought to the end.

An exit that does not act (`acts=False`) leaves an event for each look: what it read, and what the engine would have
answered there. Beside the gold answer that is all one needs to say what any threshold would have done.

Source: the labels are LYNX's, arXiv:2512.05325: is the forced answer right. Differs: a task is one point, by its
highest score of a wrong answer (there every look is one), so that what is chosen holds for whole runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from json import loads
from math import inf
from typing import Any, NamedTuple

from orchestrator.errors import UserError
from orchestrator.memory.base import EventRow, StoredRun
from orchestrator.monitors.exit_file import Mistake
from orchestrator.monitors.overthinking import NOT_IN_FILE, SIGNALS, Exit
from orchestrator.runtime.tasks import fingerprint, is_correct
from orchestrator.think_tags import leaves_open
from orchestrator.types import Event, Message, StepKind, Task

__all__ = [
    "Look",
    "Thought",
    "exit_options",
    "name_of",
    "thought_in",
    "thought_of",
    "thought_tokens",
    "worst",
]

PROBE = "probe"
"""Purpose of the calls that force an answer."""


class Look(NamedTuple):
    """One look at a thought that went on."""

    score: float
    """What the threshold is held against, >= 0."""
    is_right: bool
    """The answer that was given there is right; False where there was none."""
    tokens: int
    """Thought so far, the step behind which it looked included."""
    spent: int = 0
    """Tokens that the look itself generated."""
    can_exit: bool = True
    """There was an answer: a thought is never cut without one."""
    step: int = -1
    """Index of the step behind which it looked."""


class Thought(NamedTuple):
    """One task that was thought about to the end, and every look on the way."""

    task: str
    """The task's fingerprint."""
    looks: tuple[Look, ...]
    """In order."""
    tokens: int
    """Of the whole thought."""
    is_right: bool
    """The answer that the run ended with is right."""

    def at(self, is_kept: Callable[[Look], bool]) -> Thought:
        """Return the thought as if only some of the looks had been taken."""
        return self._replace(looks=tuple(look for look in self.looks if is_kept(look)))


def thought_in(stored: StoredRun, exit: Exit, is_right: Callable[[str | None, str], bool] = is_correct) -> Thought:
    """Return what the exit saw of a run that is in the journal; `is_right` says so of an answer beside the gold one.

    Raises UserError for a run without a gold answer or an end.
    """
    given = loads(stored.run.task)
    gold = given.get("answer")
    if gold is None:
        raise UserError(f"run {stored.run.id}: its task has no answer, so nobody can say where it could have stopped")
    if stored.outcome is None:
        raise UserError(f"run {stored.run.id} has not ended: go on with it first")
    rows = stored.kept()
    looks = {row.step: _event(row) for row in stored.events if row.kind == name_of(exit)}  # of a step, the last one
    spent: dict[int, int] = {}
    is_free = getattr(exit, "is_free", False)  # it asks while it does not act, so that its labels are true
    for call in () if is_free else stored.calls:
        if call.intent.purpose == PROBE and call.result is not None:
            step = call.intent.step
            spent[step] = spent.get(step, 0) + call.result.output_tokens
    return thought_of(
        fingerprint(Task(messages=tuple(Message(*message) for message in given["messages"]))),
        [(row.kind == StepKind.THOUGHT, row.text, row.num_tokens) for row in rows],
        [looks[step] for step in sorted(looks) if step < len(rows)],
        exit,
        is_right=lambda answer: is_right(answer, gold),
        ended_right=is_right(stored.outcome.answer, gold),
        spent=spent,
    )


def thought_of(
    task: str,
    steps: Sequence[tuple[bool, str, int]],
    looks: Sequence[Event],
    exit: Exit,
    *,
    is_right: Callable[[str], bool],
    ended_right: bool,
    spent: Mapping[int, int] | None = None,
) -> Thought:
    """Return a thought whose kept steps are `steps`, each whether it is a thought, its text and its tokens.

    `looks` are the exit's events in order, `is_right` says so of an answer, and `spent` how many tokens were generated
    to look behind a step, by its index.
    """
    so_far = thought_tokens(steps)
    found = [
        Look(
            score=score,
            is_right=look.answer is not None and is_right(look.answer),
            tokens=so_far[look.step],
            spent=(spent or {}).get(look.step, 0),
            can_exit=look.answer is not None,
            step=look.step,
        )
        for look, score in zip(looks, exit.scores(looks), strict=True)
    ]
    return Thought(task, tuple(found), so_far[-1] if so_far else 0, ended_right)


def thought_tokens(steps: Iterable[tuple[bool, str, int]]) -> list[int]:
    """Return the tokens of thought up to and with each step; a step that closes the thought, or opens it, counts.

    A turn that follows an action or an observation thinks anew.
    """
    totals, total, is_open = [], 0, True
    for is_thought, text, num_tokens in steps:
        was_open, said = is_open, leaves_open(text)
        is_open = not is_thought or (was_open if said is None else said)
        if is_thought and (was_open or is_open):
            total += num_tokens
        totals.append(total)
    return totals


def worst(thoughts: Iterable[Thought], mistake: Mistake = "wrong") -> tuple[float, ...]:
    """Return the highest score at which ending would be a mistake, for each task; minus infinity where none would.

    A task that was thought about more than once is one point, the highest of them. Raises UserError for no thought.
    """
    highest: dict[str, float] = {}
    for thought in thoughts:
        is_counted = mistake == "wrong" or thought.is_right
        scores = [look.score for look in thought.looks if is_counted and look.can_exit and not look.is_right]
        highest[thought.task] = max(highest.get(thought.task, -inf), *scores, -inf)
    if not highest:
        raise UserError("no thought was watched to its end: run tasks with an exit that has acts = false")
    return tuple(highest.values())


def name_of(exit: Exit) -> str:
    """Return the name under which an exit is registered, which is the kind of its events."""
    return next(name for name, kind in SIGNALS.items() if type(exit) is kind)


def exit_options(exit: Exit) -> dict[str, Any]:
    """Return the options of an exit that its readings depend on: all but its threshold and whether it acts."""
    names = {each.name for each in fields(exit)} - {*NOT_IN_FILE}
    return {name: getattr(exit, name) for name in sorted(names)}


def _event(row: EventRow) -> Event:
    told = loads(row.detail)
    return Event(row.kind, told["reason"], value=told.get("value"), answer=told.get("answer"), step=row.step)
