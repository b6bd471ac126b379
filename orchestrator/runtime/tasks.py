"""Tasks from a JSONL file, and whether an answer is the one that was wanted.

A line is a JSON object with either `prompt`, a text, or `messages`, a list of objects with `role`
and `content`; `id` (text or integer), `answer` (the gold answer, text or number) and `topic` (text) are
optional, and further keys are left to their owner. Blank lines are skipped. A line that cannot be used keeps
its place: it becomes a TaskLine with an error, and the others are none the worse for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.answers import normal
from orchestrator.errors import BadTask
from orchestrator.types import Message, Task

__all__ = ["TaskLine", "fingerprint", "is_correct", "question_print", "read_tasks"]

MAX_LINE_BYTES = 16 << 20
_ROLES = ("system", "user", "assistant", "tool")
_SHOWN_KEYS = 8


class TaskLine(NamedTuple):
    """One line of a file of tasks."""

    position: int
    """Place among the lines that are not blank, from 0."""
    number: int
    """Line of the file, from 1."""
    id: str | int | None
    """As it was written."""
    task: Task | None
    """None if the line is bad."""
    error: str = ""
    """What is wrong with it; empty if nothing is."""


def read_tasks(path: Path) -> list[TaskLine]:
    """Return every line of the file at `path`. Raises BadTask if it cannot be read or holds no task."""
    try:
        with path.open("rb") as file:
            lines = list(_lines(file.read().removeprefix(b"\xef\xbb\xbf")))
    except OSError as error:
        raise BadTask(f"{path}: {error.strerror}") from error
    if not lines:
        raise BadTask(f"{path} holds no task: write one JSON object with a `prompt` per line")
    return lines


def _lines(data: bytes) -> Iterator[TaskLine]:
    position = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            yield _task_line(position, number, line)
            position += 1


def _task_line(position: int, number: int, line: bytes) -> TaskLine:
    given: Any = None
    try:
        given = _object(line)
        return TaskLine(position, number, _id(given), _task(given))
    except BadTask as error:
        return TaskLine(position, number, _known_id(given), None, str(error))


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise BadTask(f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        given = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise BadTask(f"not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise BadTask(f"not JSON: {error.msg} (column {error.colno})") from None
    except (RecursionError, ValueError):  # a number of thousands of digits is a ValueError
        raise BadTask("not JSON that can be read: nested too deeply, or a number too long") from None
    if not isinstance(given, dict):
        raise BadTask("not a JSON object: write an object with a `prompt`")
    return given


def _known_id(given: Any) -> str | int | None:
    try:
        return _id(given) if isinstance(given, dict) else None
    except BadTask:
        return None


def _id(given: dict[str, Any]) -> str | int | None:
    value = given.get("id")
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return value
    raise BadTask(f"`id` must be a text or an integer, not {value!r}")


def _task(given: dict[str, Any]) -> Task:
    name = _id(given)
    return Task(
        messages=_messages(given),
        id=None if name is None else str(name),
        answer=_answer(given),
        topic=given.get("topic"),
    )


def _messages(given: dict[str, Any]) -> tuple[Message, ...]:
    if "prompt" in given and "messages" in given:
        raise BadTask("it has both `prompt` and `messages`: give one of them")
    if "messages" in given:
        messages = given["messages"]
        if not isinstance(messages, list):
            raise BadTask(f"`messages` must be a list of objects, not {messages!r:.60}")
        return tuple(_message(message) for message in messages)
    if "prompt" not in given:
        keys = ", ".join(list(given)[:_SHOWN_KEYS]) or "nothing"
        raise BadTask(f"it lacks a `prompt` or `messages`; it has {keys}")
    if not isinstance(given["prompt"], str):
        raise BadTask(f"`prompt` must be a text, not {given['prompt']!r:.60}")
    return (Message("user", given["prompt"]),)


def _message(message: Any) -> Message:
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        raise BadTask(f"a message must be an object with texts `role` and `content`, not {message!r:.60}")
    if message.get("role") not in _ROLES:
        raise BadTask(f"a message has role {message.get('role')!r:.60}; known: {', '.join(_ROLES)}")
    return Message(message["role"], message["content"])


def _answer(given: dict[str, Any]) -> str | None:
    value = given.get("answer")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise BadTask(f"`answer` must be a text or a number, not {value!r:.60}")


def fingerprint(task: Task) -> str:
    """Return what names a task by what is asked: a policy lists the tasks it was fitted on so."""
    return blake2b(json.dumps(task.messages).encode(), digest_size=10).hexdigest()


def question_print(task: Task) -> str:
    """Return what names a question, however it is set: the fingerprint of the user's words alone, one blank between
    any two. A task of those words alone has it for its fingerprint."""
    by_role = [each.content for each in task.messages if each.role == "user"]
    words = " ".join(by_role).split() or " ".join(each.content for each in task.messages).split()
    return fingerprint(Task(messages=(Message("user", " ".join(words)),)))


def is_correct(answer: str | None, gold: str) -> bool:
    """Return whether `answer` is `gold`: the same text without outer white space, or the same decimal number.

    Commas between digits and zeros behind the point do not count: `1,200.50` is `1200.5`.
    """
    return answer is not None and normal(answer) == normal(gold)
