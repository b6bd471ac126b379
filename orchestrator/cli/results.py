"""Result lines of a file of tasks: one JSON object each, appended as tasks finish."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from orchestrator.cli.streams import say_json, to_json
from orchestrator.errors import UserError
from orchestrator.runtime.tasks import TaskLine, is_correct
from orchestrator.types import Status

if TYPE_CHECKING:
    from orchestrator.runtime.result import RunResult

__all__ = ["Results", "bad_line", "check_out", "record"]


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
    return {
        "position": line.position,
        "id": line.id,
        "run_id": None,
        "status": Status.FAILED.value,
        "answer": None,
        "steps": 0,
        "output_tokens": 0,
        "large_share": 0.0,
        "seconds": 0.0,
        "error": f"line {line.number}: {line.error}",
    }


def check_out(out: Path | None, *, resume: bool) -> None:
    """Raise UserError if `out` exists and is not to be continued, or cannot be made."""
    if out is None:
        return
    if out.exists() and not resume:
        raise UserError(f"{out} exists: continue it with --resume, or choose another file")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UserError(f"{out} cannot be written: it is a folder, or its folder does not exist")


class Results:
    """Where result lines go: a file, or stdout if `out` is None.

    A file that is continued keeps the lines of finished tasks and loses those of failed ones, which
    run again, and a last line that was cut off: it is replaced in one move, so that it is never half
    there. `positions` tells whose lines it has.
    """

    def __init__(self, out: Path | None) -> None:
        self.positions: set[int] = set()
        self._file: BinaryIO | None = None
        if out is not None:
            try:
                self._file = self._opened(out)
            except OSError as error:
                raise UserError(f"{out} cannot be written: {error.strerror}") from error

    def _opened(self, out: Path) -> BinaryIO:
        if out.exists():
            kept = _kept_lines(out)
            self.positions = set(kept)
            beside = out.with_name(out.name + ".new")
            with beside.open("wb") as file:
                file.writelines(kept.values())
                file.flush()
                os.fsync(file.fileno())
            beside.replace(out)
        return out.open("ab")

    def write(self, line: dict[str, Any]) -> None:
        """Append a result line; it is with the operating system when this returns."""
        if self._file is None:
            say_json(line)
            sys.stdout.flush()
        else:
            self._file.write(to_json(line).encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Bring everything to the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


def _kept_lines(out: Path) -> dict[int, bytes]:
    *lines, last = out.read_bytes().split(b"\n")
    del last  # empty, or a line that was cut off
    kept: dict[int, bytes] = {}
    for number, line in enumerate(lines, 1):
        try:
            given = json.loads(line)
            position, status = int(given["position"]), given["status"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{out} line {number} is no result of this command: choose another file") from None
        if status != Status.FAILED.value:
            kept[position] = line + b"\n"
    return kept
