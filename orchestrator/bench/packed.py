"""Files of results, read as they are or packed: a sample is a line, and thousands of them are committed as `.xz`."""

from __future__ import annotations

import lzma
from pathlib import Path

from orchestrator.errors import UserError

__all__ = ["data_in", "packed"]


def data_in(file: Path) -> bytes:
    """Return what is in `file`, or in the same file packed where it is not there; nothing if neither is.

    Raises UserError if what is packed is damaged.
    """
    if file.exists():
        return file.read_bytes()
    if not packed(file).exists():
        return b""
    try:
        return lzma.decompress(packed(file).read_bytes())
    except lzma.LZMAError as error:
        raise UserError(f"{packed(file)} is damaged: {error}") from error


def packed(file: Path) -> Path:
    """Return where `file` lies once it is packed."""
    return file.with_name(f"{file.name}.xz")
