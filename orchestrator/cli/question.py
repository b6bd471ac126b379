"""One question: its answer on stdout, what led to it on stderr."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.cli.app import code_of
from orchestrator.cli.approval import Person
from orchestrator.cli.progress import StepLines
from orchestrator.cli.results import record
from orchestrator.cli.streams import counted, fail, note, say, say_json
from orchestrator.config import default_db
from orchestrator.runtime.tasks import TaskLine
from orchestrator.types import Status, Task

if TYPE_CHECKING:
    from orchestrator.cli.learner import Learner
    from orchestrator.runtime.pipeline import Pipeline
    from orchestrator.runtime.result import RunResult

__all__ = ["run_question"]


async def run_question(
    pipeline: Pipeline, task: Task, batch: str, learner: Learner | None, *, given: Mapping[str, Any]
) -> int:
    """Run `task`, or go on with its newest run, let `learner` learn from it, and return the exit code."""
    earlier = pipeline.journal.batch(batch) if given["resume"] else []
    if pipeline.approve is None and not given["quiet"]:
        pipeline.approve = Person.if_there()
    result = await pipeline.arun(
        task,
        run_id=earlier[0].run.id if earlier else None,
        batch=batch,
        listener=None if given["quiet"] else StepLines.if_watched(),
    )
    if given["as_json"]:
        say_json({**record(TaskLine(0, 1, task.id, task), result), "reason": result.reason})
    elif result.answer is not None:
        say(result.answer)
    if result.status is Status.FAILED:
        fail(str(result.error or result.reason))
    if not given["quiet"]:
        for doubt in pipeline.doubts:
            note(f"warning: {doubt}")
        note(_summary(result, pipeline.db, given))
    if learner is not None:
        await learner.aside(result.run_id)
        learner.end()
    return _exit_code(result)


def _summary(result: RunResult, db: str, given: Mapping[str, Any]) -> str:
    show = ["orchestrator", "trace", "show", result.run_id]
    for flag in ("config", "db"):
        show += [f"--{flag}", str(given[flag])] if given[flag] else []
    if given["pipeline"] and not given["db"] and db != str(default_db()):
        show += ["--db", db]
    why = "" if result.status is Status.COMPLETED else f" ({result.reason})"
    steps = len(result.steps)
    parts = [f"{result.status}{why}", counted(steps, "step")]
    if len(result.ledger.engines) > 1:
        parts.append(f"large {result.ledger.large_share:.0%} of tokens")
    return " · ".join([*parts, f"{result.seconds:.1f} s", f"run {result.run_id}", shlex.join(show)])


def _exit_code(result: RunResult) -> int:
    if result.status is Status.BUDGET:
        return 4
    if result.status is Status.FAILED and result.error is not None:
        return code_of(result.error)
    return 0 if result.status in (Status.COMPLETED, Status.DEGRADED) else 1
