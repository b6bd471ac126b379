"""`orchestrator trace`: stored runs, looked at, compared, replayed and carried elsewhere; each command has its file."""

from __future__ import annotations

import click

from orchestrator.cli.trace_diff import trace_diff
from orchestrator.cli.trace_export import export, import_runs
from orchestrator.cli.trace_graph import trace_graph
from orchestrator.cli.trace_html import html
from orchestrator.cli.trace_list import list_runs
from orchestrator.cli.trace_prune import prune_runs
from orchestrator.cli.trace_replay import trace_replay
from orchestrator.cli.trace_serve import serve
from orchestrator.cli.trace_show import show
from orchestrator.cli.trace_stats import trace_stats
from orchestrator.cli.trace_tail import tail

__all__ = ["trace"]


@click.group(epilog="Example: orchestrator trace show last")
def trace() -> None:
    """Show what runs did, step by step."""


for command in (
    list_runs,
    show,
    tail,
    trace_stats,
    trace_diff,
    trace_graph,
    html,
    serve,
    trace_replay,
    export,
    import_runs,
    prune_runs,
):
    trace.add_command(command)
