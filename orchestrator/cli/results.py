"""Result lines of a file of tasks: one JSON object each, appended as tasks finish."""

from __future__ import annotations

import json
import os
from io import FileIO
from pathlib import Path
from stat import S_IMODE
from tempfile import mkstemp
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.cli.streams import say_json, to_json, writing
from orchestrator.errors import UserError
from orchestrator.runtime.tasks import TaskLine, is_correct
from orchestrator.types import Status

if TYPE_CHECKING:
    from orchestrator.runtime.result import RunResult

__all__ = ["Line", "Results", "bad_line", "check_out", "crashed", "read_out", "record"]


def record(line: TaskLine, result: RunResult) -> dict[str, Any]:
    """Return the result line of a run."""
    has_gold = line.task is not None and line.task.answer is not None
    error = str(result.error or result.reason) if result.status in (Status.FAILED, Status.BUDGET) else None
    return {
        "position": line.position,
        "id": line.id,
        "run_id": result.run_id,
        "status": result.status.value,
        "answer": result.answer,
        **({"correct": is_correct(result.answer, line.task.answer or "")} if has_gold and line.task else {}),
        "steps": len(result.steps),
        "output_tokens": result.ledger.total().output_tokens,
        "large_share": round(result.ledger.large_share, 4),
        "seconds": round(result.seconds, 3),
        "error": error,
    }


def bad_line(line: TaskLine) -> dict[str, Any]:
    """Return the result line of a line that could not be used."""
    return _failed(line, None, f"line {line.number}: {line.error}")


def crashed(line: TaskLine, run_id: str, error: str) -> dict[str, Any]:
    """Return the result line of a run that an exception ended; what it cost so far is in the journal."""
    return _failed(line, run_id, error)


def _failed(line: TaskLine, run_id: str | None, error: str) -> dict[str, Any]:
    has_gold = line.task is not None and line.task.answer is not None
    return {
        "position": line.position,
        "id": line.id,
        "run_id": run_id,
        "status": Status.FAILED.value,
        "answer": None,
        **({"correct": False} if has_gold else {}),
        "steps": 0,
        "output_tokens": 0,
        "large_share": 0.0,
        "seconds": 0.0,
        "error": error,
    }


def check_out(out: Path | None, *, resume: bool) -> None:
    """Raise UserError if `out` is no file, exists and is not to be continued, or cannot be made.

    A link stands for the file it leads to.
    """
    if out is None:
        return
    with writing(str(out)):
        target = Path(os.path.realpath(out))
        is_there = target.exists() or target.is_symlink()  # the latter: links that lead to each other
        if is_there and not target.is_file():
            raise UserError(f"{out} is no regular file: choose another one, or leave --out away for stdout")
        if is_there and not resume:
            raise UserError(f"{out} exists: continue it with --resume, or choose another file")
        if not target.parent.is_dir():
            raise UserError(f"{out} cannot be written: its folder does not exist")


class Line(NamedTuple):
    """A line of a file of results."""

    position: int
    run_id: str | None
    is_kept: bool
    """False for a failed task: it runs again."""
    text: bytes


def read_out(out: Path | None) -> list[Line]:
    """Return the whole lines of `out`, none if it is not there; a last line that was cut off is none.

    Raises UserError for a line that is no result.
    """
    if out is None or not out.exists():
        return []
    with writing(str(out)), out.open("rb") as file:
        *lines, _ = file.read().split(b"\n")
    return [_line(out, number, text) for number, text in enumerate(lines, 1)]


def _line(out: Path, number: int, text: bytes) -> Line:
    try:
        given = json.loads(text)
        run_id = given["run_id"]
        if not isinstance(run_id, str | None):
            raise TypeError(run_id)
        return Line(int(given["position"]), run_id, given["status"] != Status.FAILED.value, text + b"\n")
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{out} line {number} is no result of this command: choose another file") from None


class Results:
    """Where result lines go: a file, or stdout if `out` is None.

    A file that is continued keeps the lines of finished tasks and loses those of failed ones, which
    run again, and a last line that was cut off: it is replaced in one move, so that it is never half
    there. `positions` tells whose lines it has. Raises Unwritable.
    """

    def __init__(self, out: Path | None) -> None:
        self.positions: set[int] = set()
        self._file: FileIO | None = None
        self._name = str(out)
        if out is not None:
            with writing(self._name):
                self._file = self._opened(Path(os.path.realpath(out)))

    def _opened(self, out: Path) -> FileIO:
        kept = {line.position: line.text for line in read_out(out) if line.is_kept}
        self.positions = set(kept)
        file = out.open("ab", buffering=0)  # nothing is left in a buffer that fails again when it is closed
        text = b"".join(kept.values())
        if os.fstat(file.fileno()).st_size == len(text):
            return file
        with file:
            _replace(out, text, S_IMODE(os.fstat(file.fileno()).st_mode))
        return out.open("ab", buffering=0)

    def write(self, line: dict[str, Any]) -> None:
        """Append a result line; it is with the operating system when this returns."""
        if self._file is None:
            say_json(line)
        else:
            with writing(self._name):
                _write_all(self._file, to_json(line).encode() + b"\n")

    def close(self) -> None:
        """Bring everything to the disk."""
        if self._file is not None:
            with writing(self._name), self._file as file:
                self._file = None
                os.fsync(file.fileno())


def _write_all(file: FileIO, text: bytes) -> None:
    while text:
        text = text[file.write(text) :]


def _replace(out: Path, text: bytes, mode: int) -> None:
    descriptor, beside = mkstemp(dir=out.parent, prefix=f".{out.name[:100]}.")
    try:
        with FileIO(descriptor, "wb") as file:
            _write_all(file, text)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(beside, out)
    except BaseException:
        os.unlink(beside)
        raise
