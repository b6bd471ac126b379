"""`orchestrator trace list`: stored runs, one line each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag
from orchestrator.cli.trace_which import which_flags

if TYPE_CHECKING:
    from orchestrator.memory.base import RunSummary
    from orchestrator.memory.summaries import Listing

__all__ = ["list_runs"]

_ORDERS = ("started", "cost", "seconds", "tokens")


@click.command("list", epilog="Example: orchestrator trace list --policy specreason --since 2d --cost 0.5..")
@click.option("-n", "number", type=click.IntRange(1), default=20, show_default=True, help="Runs to list.")
@click.option(
    "--by", type=click.Choice(_ORDERS), default="started", show_default=True, help="The newest, or the largest, first."
)
@which_flags
@click.option("--json", "as_json", is_flag=True, help="One JSON object per run.")
@config_flag
@db_flag
def list_runs(number: int, by: str, as_json: bool, **given: Any) -> None:
    """List stored runs, the newest first; with filters, those that pass all of them.

    Runs of learners, their questions and the branches of `collect --tree`, are left out but with --all.
    `large` is the share of output tokens that the largest engine wrote, `s` are seconds. Where lines are narrow,
    columns are left out: steps first, then s, large, cost and started.
    """
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import note, say_json
    from orchestrator.cli.trace_which import none_of, which_of

    which = which_of(given)
    with open_journal(given) as journal:
        found = journal.listed(which, number, by)
        none = "" if found.matching else none_of(journal, found)
    if as_json:
        for run in found.runs:
            say_json({name: value for name, value in run._asdict().items() if name != "key"})
    elif found.runs:
        _show(found.runs)
    for line in _remarks(found, none):
        note(line)


def _remarks(found: Listing, none: str) -> Iterator[str]:
    from orchestrator.cli.streams import counted

    if not found.matching:
        yield none
    elif len(found.runs) < found.matching:
        yield f"{len(found.runs):,} of {found.matching:,} runs: -n lists more"
    if found.left_out:
        yield f"{counted(found.left_out, 'run')} of learners left out: --all lists them"
    if found.pruned:
        yield found.pruned


def _show(runs: list[RunSummary]) -> None:
    from orchestrator.cli.streams import say_lines, width
    from orchestrator.traces.at_a_glance import Columns

    columns = Columns(has_cost=any(run.cost for run in runs), width=width())
    if not sys.stdout.isatty():
        say_lines([columns.titles(), *("".join(columns.cells(run)) for run in runs)])
        return
    from rich.text import Text  # 50 ms, and only a terminal has colours

    from orchestrator.runtime.colours import STATUS

    lines = [Text(columns.titles())]
    for run in runs:
        begin, status, rest = columns.cells(run)
        lines.append(Text.assemble(begin, (status, STATUS.get(run.status, "red")), rest))
    say_lines(lines)
