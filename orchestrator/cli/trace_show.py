"""`orchestrator trace show`: one stored run, step by step."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.source import config_flag, db_flag

__all__ = ["show"]


@click.command("show", epilog="Example: orchestrator trace show last")
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
