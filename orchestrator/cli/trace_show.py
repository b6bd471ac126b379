"""`orchestrator trace show`: one stored run, step by step."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.source import config_flag, db_flag

__all__ = ["show"]


@click.command("show", epilog="Example: orchestrator trace show last")
@click.argument("name", metavar="[RUN|last]", required=False)
@click.option("--grep", metavar="WORDS", help='Search all runs, or RUN: words, "a phrase", begin*; all must occur.')
@click.option("-n", "number", type=click.IntRange(1), default=20, show_default=True, help="Of --grep: texts to show.")
@click.option(
    "--json", "as_json", is_flag=True, help="Everything about the run as one JSON object; see `trace export`."
)
@config_flag
@db_flag
def show(name: str | None, grep: str | None, number: int, as_json: bool, **given: Any) -> None:
    """Show one run: every step, who wrote it and why, what was discarded, and the ledger.

    RUN is an id or the beginning of one. `x` marks a draft that does not stand.

    --grep shows what was asked, written, turned away included, and answered that holds all of the words, the newest
    first. The first search makes an index beside the journal, which takes a while where there are many runs.
    """
    if grep is not None:
        from orchestrator.cli.trace_grep import show_hits

        show_hits(name, grep, number, as_json=as_json, given=given)
        return
    from orchestrator.cli.stored import open_journal
    from orchestrator.runtime.fork import ancestors

    with open_journal(given) as journal:
        run = journal.run(name or "last")
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
