"""`orchestrator trace`: list and show stored runs; what else can be done with them has files of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag
from orchestrator.cli.trace_diff import trace_diff
from orchestrator.cli.trace_export import export, import_runs
from orchestrator.cli.trace_graph import trace_graph
from orchestrator.cli.trace_html import html
from orchestrator.cli.trace_replay import trace_replay
from orchestrator.cli.trace_serve import serve

if TYPE_CHECKING:
    from orchestrator.memory.base import RunSummary

__all__ = ["trace"]

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
    from orchestrator.cli.streams import say, say_json, width

    with open_journal(given) as journal:
        runs = journal.runs(number, status)
    if as_json:
        for run in runs:
            say_json({name: value for name, value in run._asdict().items() if name != "key"})
        return
    say(f"{'run':<16}  {'started':<16} {'status':<11} {'steps':>5} {'large':>5} {'s':>6}  asked")
    for run in runs:
        say(_line(run, width() - _BEFORE_QUESTION))


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
        from orchestrator.cli.streams import say_json
        from orchestrator.cli.trace_export import redactor
        from orchestrator.traces.record import exported

        say_json(exported(run, forked_from, redactor(given)))
    else:
        from rich.console import Console

        from orchestrator.cli.streams import printing
        from orchestrator.runtime.timeline import timeline

        console = Console(highlight=False, soft_wrap=True)
        with printing():
            console.print(timeline(run, forked_from, width=console.width))


for command in (trace_diff, trace_graph, html, serve, trace_replay, export, import_runs):
    trace.add_command(command)
