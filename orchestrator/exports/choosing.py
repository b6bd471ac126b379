"""Which runs does an export read?  Oldest first, one at a time, and every one that is left out is counted with why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, NamedTuple

from orchestrator.errors import UserError
from orchestrator.exports.lines import LeftOut
from orchestrator.learning.looks import OWN, REVERSED, TREE
from orchestrator.learning.second_attempts import BATCHES
from orchestrator.memory.base import BatchRun, RunRow, StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.runtime.opening import task_of
from orchestrator.runtime.tasks import fingerprint
from orchestrator.types import Status, Task

__all__ = ["ASIDE", "REVERSED", "SPLITS", "WHOLE", "Chosen", "Wanted", "chosen", "lines_of"]

SPLITS = ("train", "calibration", "report", "all")
ASIDE = BATCH, TIME, QUESTION, BRANCH, SECOND, TRACE = (
    "they are of another batch",
    "they began at another time",
    "they are questions of a learner, and no tasks",
    "they are branches of collected trees: what was kept there, nobody chose",
    "they are second attempts",
    "they are traces of `export reverse`",
)
"""Why runs are left out that are none of the tasks' that are asked for."""
WHOLE = (Status.COMPLETED, Status.DEGRADED)
"""How a run ends whose text nothing cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs are asked for. Raises UserError for what no run can be."""

    split_of: Callable[[Task], str]
    """The split that owns a task."""
    split: Literal["train", "calibration", "report", "all"] = "train"
    """Tasks of this one only; `all` takes those as well that benchmarks report on."""
    names: tuple[str, ...] = ()
    """Ids, beginnings of ids, or `last`; empty for every run."""
    batch: str = ""
    """What the name of the batch begins with."""
    statuses: tuple[Status, ...] = WHOLE
    since_s: float = -inf
    """When the run began, seconds since the epoch: not before this one, ..."""
    until_s: float = inf
    """... and before this one."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UserError(f"split = {self.split!r:.40}; known: {', '.join(SPLITS)}")
        if not self.since_s < self.until_s:
            raise UserError("no run can begin within these times: give an --until that is later than --since")


class Chosen(NamedTuple):
    """One run that is read."""

    stored: StoredRun
    reward: float | None
    """What it was worth, None if nobody has said."""
    task: Task
    split: str

    @property
    def about(self) -> dict[str, str]:
        """What every line of it begins with."""
        return {"run": self.stored.run.id, "task": fingerprint(self.task), "split": self.split}


def chosen(journal: Journal, wanted: Wanted, left: Counter[str]) -> Iterator[Chosen]:
    """Yield the runs that are wanted; why others are not goes into `left`.

    Raises UnknownName or UserError for a name that is none.
    """
    for each in _named(journal, wanted) if wanted.names else journal.each_run():
        if why := _unfit(journal, each, wanted):
            left[why] += 1
            continue
        stored = journal.at(each.key)
        task = task_of(stored)
        split = wanted.split_of(task)
        if wanted.split not in ("all", split):
            left[f"their tasks are of the split {split}, and --split {wanted.split} is asked for"] += 1
            continue
        yield Chosen(stored, journal.reward_of(each.key), task, split)


def lines_of(
    runs: Iterable[Chosen], make: Callable[[Chosen], Iterable[dict[str, Any]]], left: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Yield the lines that `make` makes of each run; why a run has none goes into `left`."""
    for run in runs:
        try:
            yield from make(run)
        except LeftOut as why:
            left[str(why)] += 1


def _named(journal: Journal, wanted: Wanted) -> Iterator[BatchRun]:
    keys = sorted({journal.run(name).key for name in wanted.names})
    for key in keys:
        stored = journal.at(key)
        yield BatchRun(key, stored.run, stored.outcome)


def _unfit(journal: Journal, each: BatchRun, wanted: Wanted) -> str:
    """Return why a run is not read; empty if it is."""
    run, outcome = each.run, each.outcome
    if not run.batch.startswith(wanted.batch):
        return BATCH
    if not wanted.since_s <= run.created_s < wanted.until_s:
        return TIME
    if why := _unasked(journal, run):
        return why
    if outcome is None:
        return "they have not ended"
    if outcome.status not in wanted.statuses:
        return f"their status is {outcome.status}"
    return ""


def _unasked(journal: Journal, run: RunRow) -> str:
    """Return why a run, or the one that a fork goes back to, is no answer to a user's task; empty if it is."""
    while run.parent is not None:
        if run.batch.startswith(TREE):
            return BRANCH
        run = journal.run(run.parent).run
    if run.batch == REVERSED:
        return TRACE
    if run.batch.startswith(BATCHES):  # one that shows the first is another text, which another split may own
        return SECOND
    return QUESTION if run.batch.startswith(OWN) else ""
