"""What a workload is: tasks with known answers, cut into splits by task, and a way to score an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.bench.scoring import Score
from orchestrator.engines.scorers.verifier import Check
from orchestrator.runtime.tasks import fingerprint
from orchestrator.types import Task

__all__ = ["Workload", "fingerprint", "scored"]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Tasks of one kind."""

    name: str
    settings: Mapping[str, Any]
    """Everything that its tasks depend on besides split, seed and count."""
    draw: Callable[[str, int, int], list[Task]]
    """Split, seed, count -> that many different tasks, each with an id of its own; fewer if there are no more.

    The id names what is asked, so that a task drawn by two seeds can be told."""
    score: Score
    splits: tuple[str, ...] = ("train", "calibration", "report")
    """What may be asked for; the last one unless told otherwise."""
    check: Check | None = None
    """Says whether a single step is right, where that can be said."""
    tools: Callable[[Task], Sequence[Any]] | None = None
    """A simulation of what may be called, made anew for each run of a task that was drawn; None: nothing may be."""


def scored(workload: Workload, task: Task, answer: str | None) -> tuple[float, str]:
    """Return the score of an answer, in [0, 1], and what was wrong with the scorer; then the score is 0."""
    try:
        score = float(workload.score(task, answer))
    except (Exception, SystemExit) as error:  # someone's own code: one task must not stop the others
        return 0.0, f"{type(error).__name__}: {error}"
    if not 0 <= score <= 1:
        return 0.0, f"the score {score!r} is not in [0, 1]"
    return score, ""
