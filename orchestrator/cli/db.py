"""`orchestrator db`: the journal as a file: its size, whether it is sound, a copy of it, its space back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.db_size import in_bytes, size
from orchestrator.cli.source import config_flag, db_flag

__all__ = ["db"]

_WAIT_S = 60.0


@click.group(epilog="Example: orchestrator db size")
def db() -> None:
    """Look after the journal's file: how big it is, whether it is sound, a copy, its space back.

    Nothing is ever removed by itself; `trace prune` takes runs away.
    """


@db.command(epilog="Example: orchestrator db check --full")
@click.option("--full", is_flag=True, help="Compare every index with its table, too, which takes longer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line of the report.")
@config_flag
@db_flag
def check(full: bool, as_json: bool, **given: Any) -> int:
    """Check that the journal is sound; it may be written meanwhile, and nothing is changed.

    Every text is compared with what was stored. The index of words beside the journal is not looked at: a search
    makes it anew where it is damaged.

    `bad` is a flaw, `note` is worth knowing. Exit code: 0 if it is sound, 1 if not, 2 if it cannot be opened at all.
    """
    from orchestrator.cli.stored import journal_path
    from orchestrator.cli.streams import say, say_json
    from orchestrator.memory.checking import check as checked
    from orchestrator.memory.store import Store

    is_sound = True
    with Store(journal_path(given), readonly=True) as store:
        for finding in checked(store, full=full):
            is_sound = is_sound and finding.state != "bad"
            if as_json:
                say_json(finding._asdict())
            else:
                say(f"{finding.state:<4}  {finding.what:<8} {finding.found}")
    return 0 if is_sound else 1


@db.command(epilog="Example: orchestrator db backup journal-copy.db")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@config_flag
@db_flag
def backup(out: Path, **given: Any) -> None:
    """Copy the journal to OUT, as it is at this moment, while others may write it.

    OUT is there when it is whole, for your eyes only, and never replaces a file. Read it with --db OUT. The index of
    words is left out: the first search of OUT makes it.
    """
    from orchestrator.cli.stored import journal_path
    from orchestrator.cli.streams import counted, say
    from orchestrator.memory.copying import backup as copied
    from orchestrator.memory.store import Store

    with Store(journal_path(given), readonly=True) as store:
        num_bytes, runs = copied(store, out)
    say(f"{out}: {counted(runs, 'run')}, {in_bytes(num_bytes)}")


@db.command(epilog="Example: orchestrator db vacuum")
@config_flag
@db_flag
def vacuum(**given: Any) -> None:
    """Give back the space that pruned runs left. Not while a run is executed.

    For a while the disk holds the file twice, and whoever wants to write waits. The index of words goes, too: the next
    search makes it anew.
    """
    from orchestrator.cli.stored import journal_path
    from orchestrator.cli.streams import say
    from orchestrator.errors import StoreError
    from orchestrator.memory.copying import vacuum as vacuumed
    from orchestrator.memory.store import Store

    path = Path(journal_path(given))
    if not path.exists():
        raise StoreError(f"no journal at {path}: run something first")
    with Store(path, wait_s=_WAIT_S) as store:
        before, after = vacuumed(store)
    say(f"{path}: {in_bytes(before)} before, {in_bytes(after)} now")


db.add_command(size)
