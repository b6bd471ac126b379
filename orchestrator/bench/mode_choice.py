"""What is a way to choose modes worth?  Its saving beside that of the best mode of each task, and where they differ.

The best mode of a task is the cheapest one that was right, and thinking where none was. It is known only afterwards,
and from one draw of each mode: luck is in it, so that no policy which has to choose before saves as much and is as
often right.

Source: cost-of-pass (total cost divided by the number of right answers) and labels by the cheapest correct mode are
A2FM's. Differs: a task that no mode solves counts as one to think about (there it has no label).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.errors import UserError

__all__ = ["Comparison", "Tried", "best_mode", "best_modes", "compare", "cost_of_pass"]

THINK = "think"


class Tried(NamedTuple):
    """What came of a task in a mode."""

    task: str
    mode: str
    is_right: bool
    cost: float
    """In any one unit, such as tokens, >= 0: all that the run used, what choosing and a first try took included."""


class Comparison(NamedTuple):
    """A way to choose modes beside always thinking and beside the best mode of each task, on the same tasks."""

    num_tasks: int
    accuracy: float
    always_accuracy: float
    """Of always thinking."""
    saving: float
    """1 less the cost in that of always thinking; negative where choosing costs more. Likewise below."""
    best_saving: float
    """Of the best mode of each task."""
    share: float | None
    """Of the best saving that was had; None where there is nothing to save. Above 1 only where tasks were given up that
    the best modes think about or solve: see the accuracy beside it."""
    cost_of_pass: float | None
    always_cost_of_pass: float | None
    best_cost_of_pass: float | None
    confusion: Mapping[tuple[str, str], int]
    """Tasks by (best mode, chosen mode)."""


def cost_of_pass(rows: Iterable[Tried]) -> float | None:
    """Return total cost divided by the number of right answers; None where none is right."""
    rows = list(rows)
    right = sum(row.is_right for row in rows)
    return sum(row.cost for row in rows) / right if right else None


def best_mode(rows: Sequence[Tried]) -> str:
    """Return the cheapest mode that was right on a task, the first of them on a tie; `think` where none was."""
    right = [row for row in rows if row.is_right]
    return min(right, key=lambda row: row.cost).mode if right else THINK


def best_modes(rows: Iterable[Tried]) -> dict[str, str]:
    """Return the best mode of each task."""
    return {task: best_mode(list(of.values())) for task, of in _by_task(rows).items()}


def compare(chosen: Sequence[Tried], fixed: Iterable[Tried]) -> Comparison:
    """Return what choosing came to; `chosen` has one row for each task, `fixed` one for each task and fixed mode.

    Raises UserError for a task that is there twice or was not tried in `think`, and where nothing was chosen or
    thinking was free.
    """
    tried = _by_task(fixed)
    if not chosen or len({row.task for row in chosen}) < len(chosen):
        raise UserError("nothing to compare: give the rows of one run for each task")
    if lacking := next((row.task for row in chosen if THINK not in tried.get(row.task, {})), None):
        raise UserError(f"task {lacking!r} was not tried in mode {THINK}: run all tasks in it")
    always = [tried[row.task][THINK] for row in chosen]
    best = [tried[row.task][best_mode(list(tried[row.task].values()))] for row in chosen]
    saving, best_saving = _saving(chosen, always), _saving(best, always)
    return Comparison(
        num_tasks=len(chosen),
        accuracy=sum(row.is_right for row in chosen) / len(chosen),
        always_accuracy=sum(row.is_right for row in always) / len(always),
        saving=saving,
        best_saving=best_saving,
        share=saving / best_saving if best_saving > 0 else None,
        cost_of_pass=cost_of_pass(chosen),
        always_cost_of_pass=cost_of_pass(always),
        best_cost_of_pass=cost_of_pass(best),
        confusion=Counter((of.mode, row.mode) for of, row in zip(best, chosen, strict=True)),
    )


def _by_task(rows: Iterable[Tried]) -> dict[str, dict[str, Tried]]:
    """Return what came of each task in each mode."""
    found: dict[str, dict[str, Tried]] = {}
    for row in rows:
        of = found.setdefault(row.task, {})
        if row.mode in of:
            raise UserError(f"task {row.task!r} was tried in mode {row.mode} twice: give one row of each")
        of[row.mode] = row
    return found


def _saving(rows: Sequence[Tried], always: Sequence[Tried]) -> float:
    whole = sum(row.cost for row in always)
    if not whole > 0:
        raise UserError("thinking cost nothing, so nothing can be saved: give costs in tokens")
    return 1 - sum(row.cost for row in rows) / whole
