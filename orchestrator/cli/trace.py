"""`orchestrator trace`: list, show and export stored runs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag
from orchestrator.cli.trace_html import html
from orchestrator.cli.trace_serve import serve

if TYPE_CHECKING:
    from orchestrator.memory.base import RunSummary
    from orchestrator.memory.journal import Journal

__all__ = ["trace"]

_WIDTH = 80
_BEFORE_QUESTION = 67
_SHORTEST_QUESTION = 13
_STATUSES = ("completed", "no_answer", "budget", "degraded", "failed", "running", "interrupted")


@click.group(epilog="Example: orchestrator trace show last")
def trace() -> None:
    """Show what runs did, step by step."""


@trace.command("list", epilog="Example: orchestrator trace list -n 5 --status failed")
@click.option("-n", "number", type=click.IntRange(1), default=20, show_default=True, help="Runs to list.")
@click.option("--status", type=click.Choice(_STATUSES), help="Only runs that ended, or stand, like this.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per run.")
@config_flag
@db_flag
def list_runs(number: int, status: str | None, as_json: bool, **given: Any) -> None:
    """List the newest runs."""
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import say, say_json

    with open_journal(given) as journal:
        runs = journal.runs(number, status)
    if as_json:
        for run in runs:
            say_json({name: value for name, value in run._asdict().items() if name != "key"})
        return
    say(f"{'run':<16}  {'started':<16} {'status':<11} {'steps':>5} {'large':>5} {'s':>6}  asked")
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    for run in runs:
        say(_line(run, columns - _BEFORE_QUESTION))


def _line(run: RunSummary, room: int) -> str:
    from datetime import datetime

    from orchestrator.visible import first_words

    started = datetime.fromtimestamp(run.created_s).astimezone()
    share = "-" if run.large_share is None else f"{run.large_share:.0%}"
    seconds = "-" if run.seconds is None else f"{run.seconds:.1f}"
    asked = first_words(run.question, max(room, _SHORTEST_QUESTION))
    return f"{run.id:<16}  {started:%Y-%m-%d %H:%M} {run.status:<11} {run.steps:>5} {share:>5} {seconds:>6}  {asked}"


@trace.command("show", epilog="Example: orchestrator trace show last")
@click.argument("name", metavar="[RUN|last]", default="last")
@click.option(
    "--json", "as_json", is_flag=True, help="Everything about the run as one JSON object; see `trace export`."
)
@config_flag
@db_flag
def show(name: str, as_json: bool, **given: Any) -> None:
    """Show one run: every step, who wrote it and why, what was discarded, and the ledger.

    RUN is an id or the beginning of one. `x` marks a draft that does not stand.
    """
    from orchestrator.cli.stored import open_journal
    from orchestrator.runtime.fork import ancestors

    with open_journal(given) as journal:
        run = journal.run(name)
        forked_from = ancestors(journal, run)
    if as_json:
        from orchestrator.cli.export import exported
        from orchestrator.cli.streams import say_json

        say_json(exported(run, forked_from))
    else:
        from rich.console import Console

        from orchestrator.cli.streams import printing
        from orchestrator.runtime.timeline import timeline

        console = Console(highlight=False, soft_wrap=True)
        with printing():
            console.print(timeline(run, forked_from, width=console.width))


@trace.command("export", epilog="Example: orchestrator trace export --all --out runs.jsonl")
@click.argument("names", metavar="[RUN|last]...", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every run of the journal, oldest first.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="A new file; stdout unless given.")
@config_flag
@db_flag
def export(names: tuple[str, ...], is_all: bool, out: Path | None, **given: Any) -> None:
    """Export runs as JSON lines: one object per run, with all its texts, calls and decisions.

    Prompts and answers are in it; API keys never are. The schema is orchestrator.cli.export.RunExport.
    """
    from orchestrator.cli.stored import open_journal
    from orchestrator.errors import UserError

    if is_all == bool(names):
        raise UserError("name the runs to export, or give --all")
    with open_journal(given) as journal:
        _write(journal, _every_run(journal) if is_all else list(names), out)


def _every_run(journal: Journal) -> list[str]:
    return [run.id for run in reversed(journal.runs(limit=journal.counts()["runs"]))]


def _write(journal: Journal, names: list[str], out: Path | None) -> None:
    from orchestrator.cli.streams import say_json, to_json
    from orchestrator.errors import UserError

    if out is None:
        for name in names:
            say_json(_exported(journal, name))
        return
    try:
        with out.open("x") as file:
            for name in names:
                file.write(to_json(_exported(journal, name)) + "\n")
    except FileExistsError:
        raise UserError(f"{out} exists: choose another file") from None
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from error


def _exported(journal: Journal, name: str) -> dict[str, Any]:
    from orchestrator.cli.export import exported
    from orchestrator.runtime.fork import ancestors

    run = journal.run(name)
    return exported(run, ancestors(journal, run))


trace.add_command(html)
trace.add_command(serve)
