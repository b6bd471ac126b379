"""What `run` was asked for: found, run, and turned into an exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.cli.batch import run_file
from orchestrator.cli.question import run_question
from orchestrator.cli.source import open_source
from orchestrator.cli.streams import note
from orchestrator.errors import UserError
from orchestrator.types import Message, Task

if TYPE_CHECKING:
    from orchestrator.memory.journal import Journal

__all__ = ["carry_out"]

_FILE = "file:"
_QUESTION = "question:"
_SEARCHED = 1000


class Work(NamedTuple):
    """A question or a file, and the name its runs have in the journal."""

    batch: str
    file: Path | None
    task: Task | None


async def carry_out(what: str | None, given: Mapping[str, Any]) -> int:
    """Do what `run` was asked for and return the exit code."""
    work = None if what is None else _work(what)
    if work is None and not given["resume"]:
        raise UserError("nothing to run: give a question in quotes, a TASKS.jsonl, or --resume alone")
    if given["out"] and work is not None and work.file is None:
        raise UserError("--out is for a file of tasks: redirect a question's answer with >")
    pipeline, concurrency = await open_source(given)
    async with pipeline:
        if work is None:
            work = _newest(pipeline.journal)
            if not given["quiet"]:
                note(f"resuming {work.file or 'the question: ' + _words(work.task)}")
        if work.file is not None:
            return await run_file(pipeline, work.file, work.batch, concurrency=concurrency, given=given)
        assert work.task is not None
        return await run_question(pipeline, work.task, work.batch, given=given)


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


def _newest(journal: Journal) -> Work:
    """Return the work whose run was interrupted last, else the newest, which may have tasks it never began."""
    for summary in journal.runs(limit=_SEARCHED, status="interrupted"):
        if found := _stored_work(journal, journal.run(summary.id).run.batch):
            return found
    if found := _stored_work(journal, journal.latest_batch() or ""):
        return found
    raise UserError("nothing to resume: the newest run in the journal was not started by `orchestrator run`")


def _stored_work(journal: Journal, batch: str) -> Work | None:
    if batch.startswith(_FILE):
        return Work(batch, Path(batch.removeprefix(_FILE)), None)
    if batch.startswith(_QUESTION):
        messages = json.loads(journal.batch(batch)[0].run.task)["messages"]
        return Work(batch, None, Task(messages=tuple(Message(*message) for message in messages)))
    return None


def _words(task: Task | None) -> str:
    return "" if task is None else " ".join(task.messages[-1].content.split())[:60]
