"""Stored runs as a monitor would have met them: what there was to read behind each of their moves.

The text is made by the function that a live run uses, from the same steps. Behind a hand-over another engine writes
and the window begins anew, so what follows the first one of a run is left out, and whether it succeeded is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from json import loads
from typing import NamedTuple

from orchestrator.memory.base import LEARNS, StoredRun
from orchestrator.monitors.classified import text_behind
from orchestrator.runtime.opening import task_of
from orchestrator.runtime.resume import step_of
from orchestrator.runtime.tasks import fingerprint, is_correct
from orchestrator.types import History, Status

__all__ = ["ASKED", "OWN", "REVERSED", "TREE", "Look", "Watched", "prefixes", "watched"]

ASKED = "train-monitor:"
"""How the batches begin whose runs are questions about other runs: nothing is learnt from those."""
REVERSED = "reversed"
"""How the batch begins in which `export reverse` writes traces."""
TREE = f"{LEARNS}tree:"
"""How the batch begins in which `collect --tree` runs branches: none is ever the newest run, or gives rows."""
OWN = (LEARNS, ASKED, REVERSED)
"""How the batches of runs begin that are no tasks of the user's, but questions and traces of ours."""


class Look(NamedTuple):
    """One moment at which a monitor looks."""

    run: str
    step: int
    """Index of the last kept step then: a move ends with it."""
    text: str
    """What there is to read."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A run that has ended, with all looks at it."""

    run: str
    task: str
    """Fingerprint."""
    has_succeeded: bool | None
    """It was completed, and gave the gold answer where there is one; None where it was handed over, because nobody can
    say what it would have come to."""
    history: History
    """Up to its end, or to where it was handed over."""
    looks: tuple[Look, ...]
    """In order."""


def watched(runs: Iterable[StoredRun], kind: str, window: int, min_moves: int) -> list[Watched]:
    """Return those of the runs that have ended and were long enough to be looked at."""
    found = (_watched(stored, kind, window, min_moves) for stored in runs if _is_wanted(stored))
    return [each for each in found if each.looks]


def prefixes(history: History) -> Iterator[History]:
    """Yield the history as it was behind each of its steps."""
    for number in range(1, len(history.steps) + 1):
        yield replace(history, steps=history.steps[:number])


def _is_wanted(stored: StoredRun) -> bool:
    return stored.outcome is not None and not stored.run.batch.startswith(OWN)


def _watched(stored: StoredRun, kind: str, window: int, min_moves: int) -> Watched:
    assert stored.outcome is not None
    task = task_of(stored)
    end = min((row.step for row in stored.decisions if row.action == "handoff"), default=None)
    history = History(
        task=task,
        engines=tuple(loads(stored.run.engines)),
        seed=0,
        steps=[step_of(row, []) for row in stored.kept()[:end]],
    )
    texts = ((each.steps[-1].index, text_behind(kind, each, window, min_moves)) for each in prefixes(history))
    answer = stored.outcome.answer
    is_good = stored.outcome.status == Status.COMPLETED and (task.answer is None or is_correct(answer, task.answer))
    return Watched(
        run=stored.run.id,
        task=fingerprint(task),
        has_succeeded=is_good if end is None else None,
        history=history,
        looks=tuple(Look(stored.run.id, step, text) for step, text in texts if text is not None),
    )
