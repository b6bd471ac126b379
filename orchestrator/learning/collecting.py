"""Run the policy `collect` on tasks, several at a time; the same command goes on where it was interrupted.

A run's id follows from what is collected and from its task, so finished runs are not run again: they are read from
the journal, and so are the rows of all.

With a tree every run is branched, too: at each of its first steps a fork stands on the candidate that the run did not
keep and is collected to its end, and so are its own forks. A fork's id follows from where it branches off.
Of a handbook beside them only the task's own run credits behaviors.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from orchestrator.engines.scorers.base import Scorer
from orchestrator.errors import UserError
from orchestrator.learning.looks import TREE
from orchestrator.learning.reading import collected
from orchestrator.learning.rows import About, Row
from orchestrator.memory.ids import derived
from orchestrator.routers.collect import Collect
from orchestrator.runtime.fork import ancestors, branch
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.tasks import fingerprint
from orchestrator.runtime.workers import side_by_side
from orchestrator.traces.tree import other_candidates
from orchestrator.types import Status, Task

__all__ = ["Collection"]


class Collection:
    """The runs of one collection. `pipeline` lends its engines, budget and extractors; its router is not used.

    `tree` is how many steps of each run are branched at, 0 for none. Raises UserError where there is no task, or tools
    would be called in branches.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        tasks: Sequence[Task],
        policy: Collect,
        scorers: Mapping[str, Scorer] | None = None,
        *,
        tree: int = 0,
    ) -> None:
        if not tasks:
            raise UserError("there is no task to collect from")
        if tree and pipeline.tools:
            raise UserError(
                "--tree: every branch would call the pipeline's tools again; collect without one of the two"
            )
        self._depth = tree
        settings: dict[str, Any] = json.loads(pipeline.settings)
        self._policy = policy
        alike: dict[str, Any] = {
            "router": policy,
            "scorers": scorers or {},
            "seed": settings["seed"],
            "stop_on_answer": settings["stop_on_answer"],
        }
        self._pipeline = pipeline.but(**alike)
        # What branches come to is no outcome of the task's: nothing is credited or learned by it a second time.
        self._beside = pipeline.but(**alike, reward=_unknown)
        self._name = blake2b(self._pipeline.settings.encode(), digest_size=10).hexdigest()
        # A task that is there twice would give the same rows twice.
        self._tasks = list({fingerprint(task): task for task in tasks}.values())
        self.failed = 0
        """Runs that failed; the same command tries them again."""
        self.over_budget = 0
        """Runs that a budget ended; they stay as they are."""
        self.branches = 0
        """Runs beside the tasks' own, which are in the two counts above, too; no rows are made of them."""
        self.unscored = 0
        """Drafts that gave no row for want of a score when `rows` was read to its end."""
        self.unfinished = 0
        """Drafts that gave none then because not all was written that belongs beside them."""

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
        self.failed = self.over_budget = self.branches = 0

        async def work() -> None:
            for position, (task, run_id) in waiting:
                result = await self._run(self._pipeline, task, run_id, position)
                await self._branch(task, run_id)
                listener(result)

        await side_by_side(work, concurrency)

    async def _run(self, pipeline: Pipeline, task: Task, run_id: str, position: int = 0) -> RunResult:
        result = await pipeline.arun(task, run_id=run_id, batch=f"collect:{self._name}", position=position)
        self.failed += result.status is Status.FAILED
        self.over_budget += result.status is Status.BUDGET
        return result

    async def _branch(self, task: Task, run_id: str) -> None:
        """Run the branches of a task's run, and theirs, breadth first."""
        journal, waiting = self._pipeline.journal, deque([run_id] * bool(self._depth))
        while waiting:
            stored = journal.run(waiting.popleft())
            for other in other_candidates(stored, ancestors(journal, stored), self._depth):
                waiting.append(branch(journal, stored, other, batch=TREE + self._name))
                await self._run(self._beside, task, waiting[-1])
                self.branches += 1

    def __len__(self) -> int:
        return len(self._tasks)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all runs that are in the journal, in the order of the tasks; counts what gave none."""
        self.unscored = self.unfinished = 0
        for run_id in self.run_ids:
            stored = self._pipeline.journal.stored(run_id)
            if stored is not None:
                found = collected(stored, self._policy.scorer, self._policy.samples)
                self.unscored += found.unscored
                self.unfinished += found.unfinished
                yield from found.rows


def _unknown(task: Task, answer: str | None) -> None:
    """Say nothing of what a branch was worth."""
