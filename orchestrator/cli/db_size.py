"""`orchestrator db size`: what the journal weighs, and where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag

if TYPE_CHECKING:
    from orchestrator.memory.sizes import Size

__all__ = ["in_bytes", "size"]

_DAY_S = 86400


def in_bytes(number: float) -> str:
    """Return a number of bytes for people: `512 bytes`, `1.5 MB`; a kB is 1,000 of them."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.2f} GB"


@click.command(epilog="Example: orchestrator db size")
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object, in bytes and rows.")
@config_flag
@db_flag
def size(as_json: bool, **given: Any) -> None:
    """Show what the journal weighs: its files, its tables with their indexes, texts, what is free."""
    from orchestrator.cli.stored import journal_path
    from orchestrator.cli.streams import say, say_json
    from orchestrator.memory.sizes import size_of
    from orchestrator.memory.store import Store
    from orchestrator.visible import visible

    path = journal_path(given)
    with Store(path, readonly=True) as store:
        found = size_of(store)
    if as_json:
        say_json({**found._asdict(), "tables": {name: each._asdict() for name, each in found.tables.items()}})
        return
    say(f"in {visible(str(Path(path).absolute().parent))}")
    for line in _told(found):
        say(line)


def _told(found: Size) -> list[str]:
    from datetime import datetime
    from time import time

    lines = [f"{name:<28} {in_bytes(number):>11}" for name, number in found.files.items()]
    lines += ["", f"{'table':<28} {'with indexes':>12} {'rows':>11}"]
    for name, (rows, number) in found.tables.items():
        if rows:
            lines.append(f"{name:<28} {'-' if number is None else in_bytes(number):>12} {rows:>11,}")
    lines += ["", f"{'texts, each once':<28} {in_bytes(found.texts):>12}"]
    lines.append(f"{'free, for `db vacuum`':<28} {in_bytes(found.free):>12}")
    if found.oldest_s is not None:
        began = datetime.fromtimestamp(found.oldest_s).astimezone()
        days = (time() - found.oldest_s) / _DAY_S
        lines.append(f"the oldest run began on {began:%Y-%m-%d %H:%M}, {days:.1f} days ago")
    if found.pruned:
        lines.append(f"{found.pruned:,} runs were pruned")
    return lines
