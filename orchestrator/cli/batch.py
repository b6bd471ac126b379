"""A file of tasks: several at a time, one result line each, resumable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.approval import Person
from orchestrator.cli.blame import described
from orchestrator.cli.progress import Progress
from orchestrator.cli.results import Results, bad_line, crashed, record
from orchestrator.cli.streams import note
from orchestrator.config import is_debug
from orchestrator.errors import ContextExceeded, OrchestratorError, ResumeRefused
from orchestrator.memory.base import BatchRun
from orchestrator.memory.ids import run_id as new_id
from orchestrator.runtime.opening import task_json
from orchestrator.runtime.tasks import TaskLine, read_tasks
from orchestrator.runtime.workers import side_by_side
from orchestrator.types import Status

if TYPE_CHECKING:
    from orchestrator.cli.learner import Learner
    from orchestrator.runtime.pipeline import Pipeline
    from orchestrator.runtime.result import RunResult

__all__ = ["run_file"]


async def run_file(
    pipeline: Pipeline,
    file: Path,
    batch: str,
    learner: Learner | None,
    *,
    concurrency: int,
    given: Mapping[str, Any],
) -> int:
    """Run the tasks of `file` that are not finished in `batch` and return the exit code.

    `learner` learns from each run before its worker takes the next task, and from those that were finished before it
    could. What goes wrong there is told, and changes nothing of the results.

    Raises UserError, EngineError or StoreError for what stops all of them; results so far are kept.
    """
    lines = read_tasks(file)
    bad = [line for line in lines if line.task is None]
    for line in bad:
        note(f"{file}:{line.number}: {line.error}")
    if len(bad) < len(lines):
        await pipeline.start()
    stored = {each.run.position: each for each in pipeline.journal.batch(batch)} if given["resume"] else {}
    results = Results(given["out"])
    progress = Progress(is_quiet=given["quiet"], has_large=len(pipeline.writers) > 1)
    if pipeline.approve is None and not given["quiet"]:
        pipeline.approve = Person.if_there(progress.aside)
    try:
        for line in bad:
            results.write(bad_line(line))
        _check_tasks(file, lines, stored)
        await _check_settings(pipeline, lines, stored)
        due = _due(lines, stored, results, is_file=given["out"] is not None)
        progress.begin(len(due), num_bad=len(bad), num_before=len(lines) - len(bad) - len(due))
        if learner is not None:
            learner.around = progress.aside
            await _catch_up(learner, stored, due, concurrency)
        await _run_all(pipeline, iter(due), stored, batch, concurrency, results, progress, learner)
    finally:
        results.close()
        progress.end()
        if learner is not None:
            learner.end()
        for doubt in () if given["quiet"] else pipeline.doubts:
            note(f"warning: {doubt}")
    return 2 if bad else progress.exit_code


def _is_finished(run: BatchRun | None) -> bool:
    return run is not None and run.outcome is not None and run.outcome.status != Status.FAILED


def _check_tasks(file: Path, lines: Sequence[TaskLine], stored: Mapping[int, BatchRun]) -> None:
    """Raise ResumeRefused if a line holds another task than the one that was begun for it."""
    for line in lines:
        run = stored.get(line.position)
        if line.task is not None and run is not None and run.run.task != task_json(line.task):
            raise ResumeRefused(
                f"{file}:{line.number}: another task stood here when it was run: give the file as it was, "
                "with new tasks at its end, or start anew without --resume"
            )


async def _check_settings(pipeline: Pipeline, lines: Sequence[TaskLine], stored: Mapping[int, BatchRun]) -> None:
    """Raise ResumeRefused if the finished tasks were run with other settings: opening one of them compares."""
    for line in lines:
        run = stored.get(line.position)
        if line.task is not None and run is not None and _is_finished(run):
            await pipeline.arun(line.task, run_id=run.run.id)
            return


def _due(
    lines: Sequence[TaskLine], stored: Mapping[int, BatchRun], results: Results, *, is_file: bool
) -> list[TaskLine]:
    """Return the tasks that have to run, or whose line was lost before it reached the file."""
    return [
        line
        for line in lines
        if line.task is not None
        and line.position not in results.positions
        and (is_file or not _is_finished(stored.get(line.position)))
    ]


async def _result_line(pipeline: Pipeline, line: TaskLine, run_id: str, batch: str) -> tuple[dict[str, Any], int]:
    """Return the line of a task and its exit code."""
    assert line.task is not None
    try:
        result = await pipeline.arun(line.task, run_id=run_id, batch=batch, position=line.position)
        return record(line, result), _code(result)
    except OrchestratorError:
        raise
    except Exception as error:
        # The one place besides the outer edge that catches everything: a router, an engine function or an
        # extractor is someone's own code, and what it does to one task must not cost the others theirs.
        if is_debug():
            raise
        return crashed(line, run_id, described(error)), 1


def _code(result: RunResult) -> int:
    """Return the exit code of a file that holds this task alone."""
    if isinstance(result.error, ContextExceeded):
        return 2
    return {Status.COMPLETED: 0, Status.DEGRADED: 0, Status.BUDGET: 4}.get(result.status, 1)


async def _run_all(
    pipeline: Pipeline,
    due: Iterator[TaskLine],
    stored: Mapping[int, BatchRun],
    batch: str,
    concurrency: int,
    results: Results,
    progress: Progress,
    learner: Learner | None,
) -> None:
    async def work() -> None:
        for line in due:
            run = stored.get(line.position)
            run_id = run.run.id if run else new_id()
            done, code = await _result_line(pipeline, line, run_id, batch)
            results.write(done)
            progress.advance(done, code)
            if learner is not None and done["status"] != Status.FAILED:
                await learner.aside(run_id)

    await side_by_side(work, concurrency)


async def _catch_up(
    learner: Learner, stored: Mapping[int, BatchRun], due: Sequence[TaskLine], concurrency: int
) -> None:
    """Learn from the runs that an earlier command finished, in the order of their tasks."""
    waiting = {line.position for line in due}
    runs = iter([run.run.id for place, run in sorted(stored.items()) if _is_finished(run) and place not in waiting])

    async def work() -> None:
        for run in runs:
            await learner.aside(run)

    await side_by_side(work, concurrency)
