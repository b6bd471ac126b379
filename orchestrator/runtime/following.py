"""Recall that goes along with a run: before each step, what its question and its last step call for.

A set of behaviors stands where it came into force, behind the steps that were kept by then and in the writer's own
turn, and is in every prompt until another one takes its place. At the head of the prompt a change would have all of it
prefilled again, task and steps; behind the last step, wherever that is, each step would be prefilled twice, once behind
the set and once without it. Here prompts only grow while a set stays, and a change costs what was written since the
one before. What is lost is that tasks share the lines, which stand behind each one's own question.

Each change is an event of the journal, and so is a return to an earlier set: the last one says what stands. What lies
ready for the step in hand is used as it is, so a resumed run is shown what it was shown, whatever the handbook says.

Source: Metacognitive Reuse, arXiv:2509.13237. Differs: there behaviors are recalled once, for the question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.behaviors import Behavior
from orchestrator.handbook.recall import Recalled
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.calls import WRITING
from orchestrator.runtime.marks import plain
from orchestrator.runtime.recalling import note, standing
from orchestrator.types import StepKind, Stop

if TYPE_CHECKING:
    from orchestrator.runtime.run import Run

__all__ = ["Following", "follow", "restore", "show", "went_back"]


@dataclass(slots=True)
class Following:
    """What a run is shown, step by step."""

    said: Callable[[Sequence[Behavior]], str]
    """A set as it stands in a prompt; empty where there is none."""
    sets: list[tuple[int, Recalled]]
    """By the step from which on each is in force; the first is that of the question."""
    settled: int = -1
    """The step whose set is known, whether it is a new one or not."""
    look_up: Callable[[str], Awaitable[Recalled]] | None = None
    """Recalls for the question and a step."""


async def follow(run: Run) -> None:
    """Recall for the step that is to be written, once, and show it; a step that was cut off is written on as it was.

    Raises EngineError, of the engine that counts tokens, or StoreError.
    """
    following, index = run.following, len(run.history.steps)
    if following is None:
        return
    is_known = following.settled == index or following.sets[-1][0] == index
    if not is_known and following.look_up is not None and _is_whole(run):
        found = await following.look_up(run.history.steps[-1].text)
        if _lines(found) != _lines(following.sets[-1][1]):
            note(run, found, index, attempt=run.first_attempts.get(index, 0))
            following.sets.append((index, found))
    following.settled = index
    show(run, following.sets)


def went_back(run: Run, to_step: int) -> None:
    """Return to the set that was in force at a step; what the step is shown is recalled anew."""
    following = run.following
    if following is None:
        return
    following.settled = -1
    left = [each for each in following.sets if each[0] < max(to_step, 1)]
    if len(left) < len(following.sets):
        following.sets = left
        since, recalled = left[-1]
        note(run, recalled, since, why="again, as the run went back: ")
    show(run, left)


def restore(run: Run, stored: StoredRun) -> None:
    """Put back what a stored run was shown behind the steps that stand; a set for the step in hand lies ready."""
    assert run.following is not None
    run.following.sets = standing(stored.events)
    tip = len(run.history.steps)
    first = run.first_attempts.get(tip, 0)
    if any(
        intent.step == tip and intent.purpose in WRITING and plain(intent.attempt) >= first
        for intent, _ in stored.calls
    ):
        run.following.settled = tip
    show(run, [each for each in run.following.sets if each[0] < max(tip, 1)])


def show(run: Run, sets: Sequence[tuple[int, Recalled]]) -> None:
    """Let the last of some sets stand in the prompts."""
    assert run.following is not None
    since, recalled = sets[-1]
    run.stream.note(since, run.following.said(recalled.shown))


def _is_whole(run: Run) -> bool:
    """Return whether the last step came to its end: nothing is put into the middle of a sentence."""
    last = run.history.steps[-1]
    return last.stop is Stop.DELIMITER or last.kind is StepKind.OBSERVATION


def _lines(recalled: Recalled) -> list[tuple[int, int]]:
    return [(each.id, each.version) for each in recalled.behaviors]
