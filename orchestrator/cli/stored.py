"""Open the journal to read it, beside whoever writes it, and hide the secrets in what is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.memory.journal import Journal
    from orchestrator.traces.redact import Redactor

__all__ = ["journal_path", "open_journal", "redactor"]


def journal_path(given: Mapping[str, Any]) -> Path | str:
    """Return the journal's file: that of --db, else of the configuration, else the user's own."""
    from orchestrator.traces.journal_file import journal_file

    return str(given["db"]) if given["db"] else journal_file(given["config"])


@contextmanager
def open_journal(given: Mapping[str, Any]) -> Iterator[Journal]:
    """Open the journal that the flags name. Raises StoreError."""
    from orchestrator.memory.journal import Journal
    from orchestrator.memory.store import Store

    with Store(journal_path(given), readonly=True) as store:
        yield Journal(store)


def redactor(given: Mapping[str, Any]) -> Redactor:
    """Return what hides secrets: those of the environment, and those that the configuration names."""
    from orchestrator.tables import VARIABLE
    from orchestrator.traces.journal_file import CONFIG
    from orchestrator.traces.redact import Redactor

    file = given["config"] or Path(CONFIG)
    return Redactor(named=VARIABLE.findall(file.read_text(errors="replace")) if file.is_file() else ())
