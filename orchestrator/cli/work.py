"""What `run` was asked for: found, run, and turned into an exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.cli.batch import run_file
from orchestrator.cli.idle import idle
from orchestrator.cli.learner import check_learning, learner_of
from orchestrator.cli.question import run_question
from orchestrator.cli.results import check_out, read_out
from orchestrator.cli.source import open_source
from orchestrator.cli.streams import note
from orchestrator.errors import UserError
from orchestrator.memory.ids import run_id as new_id
from orchestrator.runtime.tooling import untrained
from orchestrator.types import Message, Task

if TYPE_CHECKING:
    from orchestrator.memory.journal import Journal

__all__ = ["carry_out"]

_FILE = "file:"
_QUESTION = "question:"
_SEARCHED = 1000


class Work(NamedTuple):
    """A question or a file, and the name it has in the journal.

    Every command that begins it anew is a generation of its own: a batch called NAME#ID.
    """

    name: str
    file: Path | None
    task: Task | None


async def carry_out(what: str | None, given: Mapping[str, Any]) -> int:
    """Do what `run` was asked for and return the exit code."""
    work = None if what is None else _work(what)
    if work is None and not given["resume"]:
        raise UserError("nothing to run: give a question in quotes, a TASKS.jsonl, or --resume alone")
    if given["out"] and work is not None and work.file is None:
        raise UserError("--out is for a file of tasks: redirect a question's answer with >")
    check_out(given["out"], resume=given["resume"])
    check_learning(given)
    if given["learn"] and given["concurrency"] is None:
        given = {**given, "concurrency": 1}  # or the next task would begin before it could recall anything
    pipeline, concurrency = await open_source(given)
    told = () if given["quiet"] else (*untrained(pipeline.tools, pipeline.specs), *idle(pipeline))
    async with pipeline:
        batch = _stored_batch(pipeline.journal, work, given["out"]) if given["resume"] else None
        if work is None:
            assert batch is not None  # or there would be nothing to resume
            work = _stored_work(pipeline.journal, batch)
            if not given["quiet"]:
                note(f"resuming {work.file or 'the question: ' + _words(work.task)}")
        batch = batch or f"{work.name}#{new_id()}"
        learner = learner_of(pipeline, given) if given["learn"] else None
        for line in told:
            note(line)
        if work.file is not None:
            return await run_file(pipeline, work.file, batch, learner, concurrency=concurrency, given=given)
        assert work.task is not None
        return await run_question(pipeline, work.task, batch, learner, given=given)


def _work(what: str) -> Work:
    if what.endswith(".jsonl"):
        return Work(_FILE + os.path.abspath(what), Path(what), None)
    if _is_file(what):
        raise UserError(f"{what} is a file: tasks are JSON lines in a file whose name ends in .jsonl")
    digest = blake2b(what.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return Work(_QUESTION + digest, None, Task.of(what))


def _is_file(what: str) -> bool:
    try:
        return Path(what).is_file()
    except (OSError, ValueError):  # too long for a name, or no name at all
        return False


def _stored_batch(journal: Journal, work: Work | None, out: Path | None) -> str | None:
    """Return the batch to go on with, None if `work` was never begun: that of `out`, else the newest there is."""
    batch = _batch_of(journal, out)
    if batch is None:
        return _newest(journal) if work is None else next(iter(journal.batches(work.name + "#")), None)
    if work is not None and _name(batch) != work.name:
        raise UserError(f"{out} has results of {_shown(batch)}: choose another file")
    return batch


def _batch_of(journal: Journal, out: Path | None) -> str | None:
    """Return the batch whose results `out` has, None if it has none."""
    lines = read_out(out)
    for line in lines:
        run = journal.stored(line.run_id) if line.run_id else None
        if run is not None and _name(run.run.batch):
            return run.run.batch
    if any(line.is_kept for line in lines):
        raise UserError(f"{out} has results of runs that the journal does not hold: give their --db, or another file")
    return None


def _newest(journal: Journal) -> str:
    """Return the batch whose run was interrupted last, else the newest, which may have tasks it never began."""
    for summary in journal.runs(limit=_SEARCHED, status="interrupted"):
        batch = journal.run(summary.id).run.batch
        if _name(batch):
            return batch
    batch = journal.latest_batch() or ""
    if _name(batch):
        return batch
    raise UserError("nothing to resume: the newest run in the journal was not started by `orchestrator run`")


def _name(batch: str) -> str:
    """Return the name of the work that `batch` is a generation of, empty if it is none."""
    return batch.rpartition("#")[0] if batch.startswith((_FILE, _QUESTION)) else ""


def _shown(batch: str) -> str:
    return _name(batch).removeprefix(_FILE) if batch.startswith(_FILE) else "something else"


def _stored_work(journal: Journal, batch: str) -> Work:
    name = _name(batch)
    if name.startswith(_FILE):
        return Work(name, Path(name.removeprefix(_FILE)), None)
    messages = json.loads(journal.batch(batch)[0].run.task)["messages"]
    return Work(name, None, Task(messages=tuple(Message(*message) for message in messages)))


def _words(task: Task | None) -> str:
    return "" if task is None else " ".join(task.messages[-1].content.split())[:60]
