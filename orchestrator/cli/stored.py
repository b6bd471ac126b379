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

_CONFIG = "orchestrator.toml"
"""The configuration's FILE_NAME, which only its import could tell."""
_MAX_BYTES = 1 << 20


def journal_path(given: Mapping[str, Any]) -> Path | str:
    """Return the journal's file: that of --db, else of the configuration, else the user's own.

    Of a configuration it needs no more than that: that an engine's key is not set keeps nobody from reading.
    """
    from orchestrator.memory.store import default_db

    if given["db"]:
        return str(given["db"])
    if given["config"] is None and not Path(_CONFIG).exists():
        return default_db()
    if (plain := _named_in(given["config"] or Path(_CONFIG))) is not None:
        return plain
    from orchestrator.config import load

    return load(given["config"]).run.db or default_db()


def _named_in(file: Path) -> Path | None:
    """Return the journal that a configuration names, or None where only `load` can tell: that takes a quarter of a
    second, and says what is wrong."""
    from tomllib import loads

    from orchestrator.memory.store import default_db

    try:
        with file.open("rb") as opened:
            written = opened.read(_MAX_BYTES + 1)
        if len(written) > _MAX_BYTES:
            return None
        tables = loads(written.decode())
    except (OSError, ValueError):  # a text that is no TOML, or no UTF-8, is a ValueError
        return None
    if tables.get("schema_version", 1) != 1:
        return None
    match tables.get("run", {}):
        case {"db": str(name)} if name not in ("", ":memory:") and "$" not in name and name[0] != "~":
            return file.parent / name
        case dict(run) if "db" not in run:
            return default_db()
    return None


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
    from orchestrator.traces.redact import Redactor

    file = given["config"] or Path(_CONFIG)
    return Redactor(named=VARIABLE.findall(file.read_text(errors="replace")) if file.is_file() else ())
