"""`orchestrator trace list`: stored runs, one line each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from orchestrator.cli.source import config_flag, db_flag
from orchestrator.cli.trace_which import which_flags

if TYPE_CHECKING:
    from orchestrator.memory.base import RunSummary
    from orchestrator.memory.summaries import Listing

__all__ = ["list_runs"]

_SHORTEST_QUESTION = 9
_NARROW = 90
_STYLES = {"completed": "green", "running": "cyan", "failed": "red"}
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

    `large` is the share of output tokens that the largest engine wrote, `s` are seconds.
    """
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import note, say_json
    from orchestrator.cli.trace_which import which_of

    which = which_of(given)
    with open_journal(given) as journal:
        found = journal.listed(which, number, by)
    if as_json:
        for run in found.runs:
            say_json({name: value for name, value in run._asdict().items() if name != "key"})
    elif found.runs:
        _show(found.runs)
    for line in _remarks(found):
        note(line)


def _remarks(found: Listing) -> Iterator[str]:
    from orchestrator.cli.streams import counted

    if not found.matching:
        yield "no run is like that" if not found.left_out else "no run is like that but questions of learners"
    elif len(found.runs) < found.matching:
        yield f"{len(found.runs):,} of {found.matching:,} runs: -n lists more"
    if found.left_out:
        yield f"{counted(found.left_out, 'question')} of learners left out: --all lists them"


def _show(runs: list[RunSummary]) -> None:
    from orchestrator.cli.streams import say, width

    shape = _Shape(has_cost=any(run.cost for run in runs), columns=width())
    say(shape.titles())
    if not sys.stdout.isatty():
        for run in runs:
            say("".join(shape.cells(run)))
        return
    from rich.console import Console  # 50 ms, and only a terminal has colours
    from rich.text import Text

    from orchestrator.cli.streams import printing

    console = Console(highlight=False, soft_wrap=True)
    with printing():
        for run in runs:
            begin, status, rest = shape.cells(run)
            console.print(Text.assemble(begin, (status, _STYLES.get(run.status, "yellow")), rest))


class _Shape(NamedTuple):
    """How wide the columns of a list are."""

    has_cost: bool
    columns: int

    @property
    def is_narrow(self) -> bool:
        """There is no room for both a day and a time."""
        return self.has_cost and self.columns < _NARROW

    def titles(self) -> str:
        started = f"{'started':<11}" if self.is_narrow else f"{'started':<16}"
        cost = f" {'cost':>8}" if self.has_cost else ""
        return f"{'run':<16}  {started} {'status':<11} {'steps':>5} {'large':>5} {'s':>6}{cost}  asked"

    def cells(self, run: RunSummary) -> tuple[str, str, str]:
        """Return what stands before the status, the status, and what stands behind it."""
        from orchestrator.visible import first_words

        share = "-" if run.large_share is None else f"{run.large_share:.0%}"
        seconds = "-" if run.seconds is None else f"{run.seconds:.1f}"
        cost = (" " + ("-" if run.cost is None else f"{run.cost:.4g}").rjust(8)) if self.has_cost else ""
        begin, status = f"{run.id:<16}  {self._started(run.created_s)} ", f"{run.status:<11}"
        rest = f" {run.steps:>5} {share:>5} {seconds:>6}{cost}  "
        room = self.columns - len(begin) - len(status) - len(rest)
        return begin, status, rest + first_words(run.question, max(room, _SHORTEST_QUESTION))

    def _started(self, created_s: float) -> str:
        """Return day and time; where only one has room, the time only of days of this year."""
        from datetime import datetime

        started = datetime.fromtimestamp(created_s).astimezone()
        if not self.is_narrow:
            return f"{started:%Y-%m-%d %H:%M}"
        return f"{started:%m-%d %H:%M}" if started.year == datetime.now().year else f"{started:%Y-%m-%d} "
