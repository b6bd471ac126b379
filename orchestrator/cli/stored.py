"""Open the journal to read it, beside whoever writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.memory.journal import Journal

__all__ = ["journal_path", "open_journal"]

_CONFIG = "orchestrator.toml"
"""The configuration's FILE_NAME, which only its import could tell."""


def journal_path(given: Mapping[str, Any]) -> Path | str:
    """Return the journal's file: that of --db, else of the configuration, else the user's own."""
    from orchestrator.memory.store import default_db

    if given["db"]:
        return str(given["db"])
    if given["config"] is None and not Path(_CONFIG).exists():
        return default_db()  # a quarter of a second sooner than `load` finds out
    from orchestrator.config import load

    return load(given["config"]).run.db or default_db()


@contextmanager
def open_journal(given: Mapping[str, Any]) -> Iterator[Journal]:
    """Open the journal that the flags name. Raises StoreError."""
    from orchestrator.memory.journal import Journal
    from orchestrator.memory.store import Store

    with Store(journal_path(given), readonly=True) as store:
        yield Journal(store)
