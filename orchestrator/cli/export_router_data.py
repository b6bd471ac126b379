"""`orchestrator export-router-data`: collected steps as text and labels for the published router."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["export_router_data"]


@click.command(
    "export-router-data", epilog="Example: orchestrator export-router-data rows.jsonl --out router-data.jsonl"
)
@click.argument("rows", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="ROWS.jsonl...")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE.jsonl", help="The data set.")
@click.option("--history/--no-history", default=True, help="Tell who wrote the steps before.")
@click.option("--json", "as_json", is_flag=True, help="Print its first line, which says what is in it, as JSON.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
def export_router_data(rows: tuple[Path, ...], out: Path, history: bool, as_json: bool, quiet: bool) -> None:
    """Write collected steps as the published router learns from them: a classifier of two labels.

    ROWS are what `orchestrator collect` exported. Each line of the data set is one drafted step: the
    problem, the steps before and the draft, each tagged with who wrote it, and whether the large
    engine's step was strictly better. All steps of a task are in one split. `train/` has the script
    that trains on it, for a GPU; vLLM serves what it makes.
    """
    from orchestrator.cli.streams import note, say, say_json
    from orchestrator.learning.files import check_out
    from orchestrator.learning.labelled import export
    from orchestrator.learning.rows import read

    check_out(out, rows)
    about, found = read(rows)
    first = export(out, about, found, history=history)
    if first["repeated"] and not quiet:
        note(f"{first['repeated']} rows were there before and are left out")
    if as_json:
        say_json(first)
        return
    say(f"{sum(map(sum, first['labels'].values()))} steps of {first['tasks']} tasks, scored by {first['scorer']}")
    for split, (stands, pays) in first["labels"].items():
        say(f"  {split:10}  {stands + pays:7} steps, the large engine better on {pays} ({pays / (stands + pays):.1%})")
