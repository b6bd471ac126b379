"""`orchestrator trace list`: stored runs, one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag

if TYPE_CHECKING:
    from orchestrator.memory.base import RunSummary

__all__ = ["list_runs"]

_BEFORE_QUESTION = 67
_SHORTEST_QUESTION = 13
_STATUSES = ("completed", "no_answer", "budget", "degraded", "failed", "running", "interrupted")


@click.command("list", epilog="Example: orchestrator trace list -n 5 --status failed")
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
