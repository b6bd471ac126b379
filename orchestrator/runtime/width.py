"""How wide lines are printed, on a terminal and into a pipe; importing it costs next to nothing."""

from __future__ import annotations

import shutil
import sys
from os import environ
from typing import IO

__all__ = ["width_of"]

_USUAL = 80


def width_of(file: IO[str] | None = None) -> int:
    """Return the columns of a line: COLUMNS if it is set, else the terminal's, or 80 where there is none or it does not
    know; `file` is standard output unless it is given."""
    file = file or sys.stdout
    if file.isatty():
        return shutil.get_terminal_size((_USUAL, 24)).columns
    told = environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and int(told) else _USUAL
