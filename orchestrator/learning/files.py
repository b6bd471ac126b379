"""Files of JSON lines: read line by line, each refused by its place, and written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError

__all__ = ["check_out", "objects", "write"]

MAX_LINE_BYTES = 16 << 20


def check_out(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Raise UserError if no file can be written there: asked before the work, not after it.

    A file may be there, and is replaced; but not one of `inputs`, under whatever name.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise UserError(f"cannot write {path}: it is a folder")
    if not target.parent.is_dir():
        raise UserError(f"cannot write {path}: its folder does not exist")
    if not os.access(target.parent, os.W_OK):
        raise UserError(f"cannot write {path}: no permission in its folder")
    if any(each.exists() and target.exists() and target.samefile(each) for each in inputs):
        raise UserError(f"cannot write {path}: this command reads that file, and would replace it; name another one")


def write(path: Path, lines: Iterable[Any]) -> int:
    """Write each of `lines` as JSON and return their number. Raises UserError if the file cannot be written."""
    check_out(path)
    number = 0
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="ascii") as file:
            for line in lines:
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
                number += 1
        part.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return number


def objects(paths: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the object of each line with its place, `FILE:LINE`; empty lines are passed over.

    Raises UserError for what cannot be read, is no JSON object or is longer than MAX_LINE_BYTES.
    """
    for path in paths:
        try:
            with path.open("rb") as file:
                number = 0
                while line := file.readline(MAX_LINE_BYTES + 1):
                    number += 1
                    if line.strip():
                        yield f"{path}:{number}", _object(f"{path}:{number}", line)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from error


def _object(where: str, line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise UserError(f"{where}: the line is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON that can be read: {error}; is this the right file?") from error
    if not isinstance(found, dict):
        raise UserError(f"{where}: not a JSON object")
    return found
