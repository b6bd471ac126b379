"""`orchestrator trace html`: one or two stored runs as a page that opens from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.source import config_flag, db_flag

__all__ = ["html"]


@click.command("html", epilog="Example: orchestrator trace html last --out run.html")
@click.argument("name", metavar="[RUN|last]", default="last")
@click.argument("other", metavar="[OTHER]", required=False)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="A new file.")
@config_flag
@db_flag
def html(name: str, other: str | None, out: Path, **given: Any) -> None:
    """Write a run as one page that needs no network; with OTHER two runs side by side.

    Secrets become [redacted], as in an export. All else is in the file: questions, texts and settings too. So
    give it only to whom you would give those.
    """
    from orchestrator.cli.stored import open_journal, redactor
    from orchestrator.cli.streams import note
    from orchestrator.traces.html_page import html as page_of
    from orchestrator.traces.html_page import write_page

    with open_journal(given) as journal:
        page = page_of(journal, name, other, redactor(given))
    write_page(page, out)
    note(f"open {out} in a browser")
