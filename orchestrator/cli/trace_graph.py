"""`orchestrator trace graph`: a stored run as a graph that other tools draw."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.source import config_flag, db_flag

__all__ = ["trace_graph"]


@click.command("graph", epilog="Example: orchestrator trace graph last --format dot | dot -Tsvg > run.svg")
@click.argument("name", metavar="[RUN|last]", default="last")
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "graphml"]),
    default="mermaid",
    show_default=True,
    help="Whole texts are in graphml only.",
)
@click.option("--pipeline", "has_pipeline", is_flag=True, help="The graph of the run's pipeline beside it.")
@config_flag
@db_flag
def trace_graph(name: str, form: str, has_pipeline: bool, **given: Any) -> None:
    """Write a run as a graph: what was kept, what was tried beside it, and where it went back.

    RUN is an id or the beginning of one. How much of it was given up by its own words goes to stderr.
    """
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import note, say
    from orchestrator.runtime.fork import ancestors
    from orchestrator.traces.drawn import drawn_as
    from orchestrator.traces.graph import graph_of, with_pipeline

    with open_journal(given) as journal:
        run = journal.run(name)
        made = graph_of(run, ancestors(journal, run))
    say(drawn_as(with_pipeline(made, run) if has_pipeline else made, form))
    share, returns = made.graph["failed_step_fraction"], made.graph["went_back"]
    went = ", ".join(f"behind step {since} to {to}" for since, to in returns) or "nowhere"
    note(f"failed-step fraction {'-' if share is None else f'{share:.0%}'} · went back: {went}")
