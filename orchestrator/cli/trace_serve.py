"""`orchestrator trace serve`: the journal in a browser, on this machine only."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import click

from orchestrator.cli.source import config_flag, db_flag

__all__ = ["serve"]

_HOST = "127.0.0.1"


@click.command("serve", epilog="Example: orchestrator trace serve --port 8010")
@click.option("--port", type=click.IntRange(1, 65535), default=8010, show_default=True, help="Of 127.0.0.1.")
@config_flag
@db_flag
def serve(port: int, **given: Any) -> None:
    """Show all runs in a browser, with search, filters and a page for each; the journal is only read.

    It answers this machine alone, whoever is logged in to it. Tables and searches have what the journal has; in
    the page of a run secrets are [redacted]. Needs the extra `serve`, which brings Datasette.
    """
    from orchestrator.cli.stored import journal_path
    from orchestrator.cli.streams import note
    from orchestrator.errors import UserError
    from orchestrator.traces.serving import DATABASE, application

    answer = application(journal_path(given))
    import uvicorn

    try:
        listening = socket.create_server((_HOST, port))
    except OSError:
        raise UserError(f"port {port} cannot be had: choose another one with --port") from None
    note(f"http://{_HOST}:{port}/{DATABASE}/all_runs  (ctrl-c ends it)")
    with listening, suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(answer, log_level="critical")).run(sockets=[listening])
