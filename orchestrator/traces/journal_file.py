"""Where stored runs lie, for whoever only reads them: the configuration's journal, or the user's own."""

from __future__ import annotations

from pathlib import Path
from tomllib import loads

from orchestrator.memory.store import default_db

__all__ = ["CONFIG", "journal_file"]

CONFIG = "orchestrator.toml"
"""The configuration's FILE_NAME, which only its import could tell."""
_MAX_BYTES = 1 << 20


def journal_file(config: Path | None = None) -> Path | str:
    """Return the journal of a configuration, by default of the one in the working directory, else the user's own.

    Of a configuration it needs no more than that: that an engine's key is not set keeps nobody from reading. Raises
    BadConfig where the configuration cannot tell.
    """
    if config is None and not Path(CONFIG).exists():
        return default_db()
    if (plain := _named_in(config or Path(CONFIG))) is not None:
        return plain
    from orchestrator.config import load

    return load(config).run.db or default_db()


def _named_in(file: Path) -> Path | None:
    """Return the journal that a configuration names, or None where only `load` can tell: that takes a quarter of a
    second, and says what is wrong."""
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
        case dict(run) if not run:  # any key may be a mistyped db: not to be taken for none
            return default_db()
    return None
