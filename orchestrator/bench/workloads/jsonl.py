"""A user's own tasks: JSON lines with `prompt` or `messages` and `answer`, or GSM8K's `question` and `answer`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random

from orchestrator.bench.scoring import Score, scorer_of
from orchestrator.bench.workloads.base import Workload, fingerprint
from orchestrator.errors import BadTask, UserError
from orchestrator.runtime.tasks import read_tasks
from orchestrator.types import Message, Task

__all__ = ["jsonl", "split_of"]

_FINAL = "####"


def jsonl(path: str, scorer: str | Score = "exact") -> Workload:
    """Return the tasks of a file. Every line needs a gold answer.

    `scorer` is exact, numeric, regex, or a function. Split `all` is the whole file; `train`, `calibration` and
    `report` are two, one and two fifths of it, by what is asked: what a policy is fitted on need not be reported.
    A seed draws another order, and with it other tasks where fewer are wanted than there are.

    Raises BadTask naming the first line that cannot be used.
    """
    file = Path(path)
    tasks = _tasks(file)
    score = scorer_of(scorer) if isinstance(scorer, str) else scorer
    if not callable(score):
        raise UserError(f"the scorer {scorer!r} is no function")
    of = scorer if hasattr(scorer, "__qualname__") else type(scorer)
    named = scorer if isinstance(scorer, str) else f"{of.__module__}:{of.__qualname__}"

    def draw(split: str, seed: int, count: int) -> list[Task]:
        chosen = [task for task in tasks if split in ("all", split_of(task))]
        Random(f"jsonl/{seed}").shuffle(chosen)
        return chosen[:count]

    return Workload(
        name=file.name,
        settings={"workload": "jsonl", "tasks": sha256(file.read_bytes()).hexdigest()[:16], "scorer": named},
        draw=draw,
        score=score,
        splits=("train", "calibration", "report", "all"),
    )


def split_of(task: Task) -> str:
    """Return the split that owns a user's own task, by what is asked."""
    bucket = int(fingerprint(task), 16) % 5
    return ("train", "train", "calibration", "report", "report")[bucket]


def _tasks(file: Path) -> list[Task]:
    found = list(_gsm8k(file) if _is_gsm8k(file) else _ours(file))
    for what, names in (("question", map(fingerprint, found)), ("id", (str(task.id) for task in found))):
        first: dict[str, str] = {}
        for task, name in zip(found, names, strict=True):
            if name in first:
                raise UserError(f"{file}: {first[name]} and {task.id} have the same {what}: a task may count once only")
            first[name] = str(task.id)
    return found


def _is_gsm8k(file: Path) -> bool:
    try:
        with file.open("rb") as lines:
            first = json.loads(next((line for line in lines if line.strip()), b""))
    except (OSError, ValueError, RecursionError):
        return False  # whatever is wrong, the reader of our own format says it better
    return isinstance(first, dict) and "question" in first and "prompt" not in first and "messages" not in first


def _ours(file: Path) -> Iterator[Task]:
    for line in read_tasks(file):
        if line.task is None:
            raise BadTask(f"{file}:{line.number}: {line.error}")
        if not (line.task.answer or "").strip():
            raise BadTask(f"{file}:{line.number}: no `answer`: a bench needs the gold answer of every task")
        name = line.task.id or f"line-{line.number}"
        yield replace(line.task, id=name)


def _gsm8k(file: Path) -> Iterator[Task]:
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
            question, worked = given["question"], given["answer"]
            answer = str(worked).rpartition(_FINAL)[2].strip()
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadTask(f"{file}:{number}: not a JSON object with `question` and `answer`") from error
        if not isinstance(question, str) or not question.strip():
            raise BadTask(f"{file}:{number}: `question` must be a text, not {question!r:.60}")
        if worked is None or not answer:
            raise BadTask(f"{file}:{number}: no `answer`: a bench needs the gold answer of every task")
        yield Task(messages=(Message("user", question),), id=f"line-{number}", answer=answer)
