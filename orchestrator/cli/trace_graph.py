"""`orchestrator trace graph`: a stored run as a graph that other tools draw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag

if TYPE_CHECKING:
    from networkx import DiGraph

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
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead: nodes, with whole texts, and edges.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="A new file; stdout unless given.")
@config_flag
@db_flag
def trace_graph(name: str, form: str, has_pipeline: bool, as_json: bool, out: Path | None, **given: Any) -> None:
    """Write a run as a graph: what was kept, what was tried beside it, and where it went back.

    RUN is an id or the beginning of one. How much of it was given up by its own words goes to stderr. The JSON is
    networkx's node-link data; secrets in it become [redacted], as in an export.
    """
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import note, say
    from orchestrator.runtime.fork import ancestors
    from orchestrator.traces.drawn import drawn_as
    from orchestrator.traces.graph import graph_of, with_pipeline
    from orchestrator.traces.html_page import write_page

    with open_journal(given) as journal:
        run = journal.run(name)
        made = graph_of(run, ancestors(journal, run))
    whole = with_pipeline(made, run) if has_pipeline else made
    drawn = _json(whole, given) if as_json else drawn_as(whole, form)
    if out is None:
        say(drawn)
    else:
        write_page(drawn + "\n", out)
    share, returns = made.graph["failed_step_fraction"], made.graph["went_back"]
    went = ", ".join(f"behind step {since} to {to}" for since, to in returns) or "nowhere"
    note(f"failed-step fraction {'-' if share is None else f'{share:.0%}'} · went back: {went}")


def _json(graph: DiGraph, given: Mapping[str, Any]) -> str:
    import networkx

    from orchestrator.cli.stored import redactor
    from orchestrator.cli.streams import to_json

    return to_json(redactor(given).data(networkx.node_link_data(graph, edges="edges")))
