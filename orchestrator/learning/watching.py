"""Run tasks to the end of their thought while an exit looks and does not act; the same call goes on where it stopped.

A run's id follows from the pipeline's settings and from its task, so finished runs are not run again: they are read
from the journal, as are the looks of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b

from orchestrator.errors import UserError
from orchestrator.learning.exits import Thought, thought_in
from orchestrator.memory.ids import derived
from orchestrator.monitors.overthinking import Exit
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.result import RunResult
from orchestrator.runtime.tasks import fingerprint, is_correct
from orchestrator.runtime.workers import side_by_side
from orchestrator.types import Status, Task

__all__ = ["Watching"]


def _is_gold(task: Task, answer: str | None) -> bool:
    return is_correct(answer, task.answer or "")


def _judged(is_right: Callable[[Task, str | None], bool], task: Task, answer: str | None, gold: str) -> bool:
    return is_right(task, answer)


class Watching:
    """The runs that are watched. `exit` is among the monitors of `pipeline`; every task has a gold answer."""

    def __init__(self, pipeline: Pipeline, tasks: Sequence[Task], exit: Exit) -> None:
        if exit.acts:
            raise UserError("an exit that is to watch must have acts = false: it would end the thoughts it looks at")
        if nameless := next((task for task in tasks if task.answer is None), None):
            raise UserError(f"task {nameless.id or nameless.messages[-1].content[:40]!r} has no answer to judge by")
        if not tasks:
            raise UserError("there is no task to watch")
        self._pipeline = pipeline
        self._exit = exit
        self._name = blake2b(pipeline.settings.encode(), digest_size=10).hexdigest()
        # The points of a calibration are tasks: a second run of one would be none of its own.
        self._tasks = list({fingerprint(task): task for task in tasks}.values())
        self.failed = 0
        """Runs that failed; running again tries them again."""

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def fingerprints(self) -> list[str]:
        """Of the tasks, each once."""
        return list(map(fingerprint, self._tasks))

    @property
    def run_ids(self) -> list[str]:
        """The run of each task, in their order."""
        return [derived("watch", self._name, each) for each in self.fingerprints]

    async def run(self, concurrency: int, listener: Callable[[RunResult], None] = lambda _: None) -> None:
        """Run what is not finished. Raises MissingCapability before the first run if the engines cannot do it."""
        await self._pipeline.start()
        waiting = iter(list(enumerate(zip(self._tasks, self.run_ids, strict=True))))
        self.failed = 0

        async def work() -> None:
            for position, (task, run_id) in waiting:
                batch = f"watch:{self._name}"
                result = await self._pipeline.arun(task, run_id=run_id, batch=batch, position=position)
                self.failed += result.status is Status.FAILED
                listener(result)

        await side_by_side(work, concurrency)

    def thoughts(self, is_right: Callable[[Task, str | None], bool] = _is_gold) -> list[Thought]:
        """Return what was seen of each task, in their order; a run that is not there, or failed, gives nothing.

        `is_right` says whether an answer to a task is right.
        """
        found = []
        for task, run_id in zip(self._tasks, self.run_ids, strict=True):
            stored = self._pipeline.journal.stored(run_id)
            if stored is not None and stored.outcome is not None and stored.outcome.status != Status.FAILED:
                found.append(thought_in(stored, self._exit, partial(_judged, is_right, task)))
        return found
