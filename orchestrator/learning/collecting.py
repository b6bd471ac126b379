"""Run the policy `collect` on tasks, several at a time; the same command goes on where it was interrupted.

A run's id follows from what is collected and from its task, so finished runs are not run again: they are read from
the journal, and so are the rows of all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from orchestrator.engines.scorers.base import Scorer
from orchestrator.errors import UserError
from orchestrator.learning.metrics import Figure, bootstrapped
from orchestrator.learning.reading import collected
from orchestrator.learning.rows import About, Row
from orchestrator.memory.ids import derived
from orchestrator.routers.collect import Collect
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.tasks import fingerprint
from orchestrator.runtime.workers import side_by_side
from orchestrator.types import Status, Task

__all__ = ["Collection", "Summary", "summary"]

WRONG = 0.5
"""A step with a lower score counts as wrong."""


class Collection:
    """The runs of one collection. `pipeline` lends its engines, budget and extractors; its router is not used."""

    def __init__(
        self, pipeline: Pipeline, tasks: Sequence[Task], policy: Collect, scorers: Mapping[str, Scorer] | None = None
    ) -> None:
        if not tasks:
            raise UserError("there is no task to collect from")
        settings: dict[str, Any] = json.loads(pipeline.settings)
        self._policy = policy
        self._pipeline = pipeline.but(
            router=policy,
            scorers=scorers or {},
            seed=settings["seed"],
            stop_on_answer=settings["stop_on_answer"],
        )
        self._name = blake2b(self._pipeline.settings.encode(), digest_size=10).hexdigest()
        # A task that is there twice would give the same rows twice.
        self._tasks = list({fingerprint(task): task for task in tasks}.values())
        self.failed = 0
        """Runs that failed; the same command tries them again."""

    @property
    def run_ids(self) -> list[str]:
        """The run of each task, in their order."""
        return [derived("collect", self._name, fingerprint(task)) for task in self._tasks]

    async def about(self) -> About:
        """Return where the rows come from; the engines are asked who they are. Raises EngineError."""
        writers = self._pipeline.writers
        return About(
            small=writers[0],
            large=writers[-1],
            scorer=self._policy.scorer,
            logprobs=self._policy.logprobs,
            pair=(await self._pipeline.pair()).to_json(),
        )

    async def run(self, concurrency: int, listener: Callable[[RunResult], None] = lambda _: None) -> None:
        """Run what is not finished. Raises MissingCapability before the first run if the engines cannot do it."""
        await self._pipeline.start()
        waiting = iter(list(enumerate(zip(self._tasks, self.run_ids, strict=True))))
        self.failed = 0

        async def work() -> None:
            for position, (task, run_id) in waiting:
                batch = f"collect:{self._name}"
                result = await self._pipeline.arun(task, run_id=run_id, batch=batch, position=position)
                self.failed += result.status is Status.FAILED
                listener(result)

        await side_by_side(work, concurrency)

    def __len__(self) -> int:
        return len(self._tasks)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all runs that are in the journal, in the order of the tasks."""
        for run_id in self.run_ids:
            stored = self._pipeline.journal.stored(run_id)
            if stored is not None:
                yield from collected(stored, self._policy.scorer).rows


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a collection holds."""

    steps: int
    tasks: int
    better: Figure
    """Share of the steps where the large engine was strictly better: what an oracle would send it."""
    wrong: Figure
    """Share of the drafts that are wrong."""
    both_wrong: Figure
    """Share of the wrong drafts where the large engine was wrong, too: what sending all of them would waste."""


class _Counted(NamedTuple):
    task: str
    is_better: bool
    is_wrong: bool
    target_wrong: float


def summary(rows: Iterable[Row], scorer: str = "") -> Summary:
    """Return what the rows hold, with intervals by task: by the word of whoever labels them, or of another `scorer`.

    Rows that the other one did not score are left out.
    """
    found = [counted for row in rows if (counted := _counted(row, scorer))]
    tasks = [each.task for each in found]
    better, wrong, target_wrong = (np.array([each[place] for each in found], dtype=float) for place in (1, 2, 3))

    def among_wrong(drawn: Any) -> float:
        total = wrong[drawn].sum()
        return float((wrong[drawn] * target_wrong[drawn]).sum() / total) if total else float("nan")

    nothing = Figure(float("nan"), float("nan"), float("nan"))
    return Summary(
        steps=len(found),
        tasks=len(set(tasks)),
        better=bootstrapped(tasks, lambda drawn: float(better[drawn].mean())) if found else nothing,
        wrong=bootstrapped(tasks, lambda drawn: float(wrong[drawn].mean())) if found else nothing,
        both_wrong=bootstrapped(tasks, among_wrong) if found else nothing,
    )


def _counted(row: Row, scorer: str) -> _Counted | None:
    scored = [(row.score, row.also), *((target.score, target.also) for target in row.targets)]
    if scorer and not all(scorer in also for _, also in scored):
        return None
    ours, *theirs = [also[scorer] if scorer else score for score, also in scored]
    advantage = sum(each - ours for each in theirs)
    wrong = sum(each < WRONG for each in theirs) / len(theirs)
    return _Counted(row.task, advantage > 0, ours < WRONG, wrong)
