"""What to say about an exception that someone's own code raised: its type, its message and its line."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from traceback import extract_tb

__all__ = ["described", "is_theirs"]

_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))
_OURS = Path(__file__).resolve().parent.parent


def described(error: BaseException) -> str:
    """Return one line about `error`, with the innermost place outside this program and the libraries, if any."""
    what, place = str(error), next(_places(error), None)
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        what, place = error.msg, (error.filename, error.lineno)
    line = " ".join(f"{type(error).__name__}: {what}".split()).removesuffix(":")
    return f"{line} ({_short(place[0])} line {place[1]})" if place else line


def is_theirs(error: BaseException) -> bool:
    """Return whether code outside this program and the libraries had a part in it."""
    return next(_places(error), None) is not None


def _places(error: BaseException) -> Iterator[tuple[str, int]]:
    for frame in reversed(extract_tb(error.__traceback__)):
        if not frame.filename.startswith("<") and frame.lineno and _is_outside(Path(frame.filename).resolve()):
            yield frame.filename, frame.lineno


def _is_outside(file: Path) -> bool:
    return not any(file.is_relative_to(folder) for folder in (_OURS, *_LIBRARIES))


def _short(name: str) -> str:
    file, here = Path(name), Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
