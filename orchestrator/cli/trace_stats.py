"""`orchestrator trace stats`: what many stored runs come to together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag
from orchestrator.cli.trace_which import which_flags

if TYPE_CHECKING:
    from orchestrator.traces.stats import Stats

__all__ = ["trace_stats"]

_PATIENCE_S = 2.0


@click.command("stats", epilog="Example: orchestrator trace stats --since 7d --by policy")
@click.option("--by", type=click.Choice(["policy"]), help="A line for each, side by side.")
@which_flags
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --by one for each policy.")
@config_flag
@db_flag
def trace_stats(by: str | None, as_json: bool, **given: Any) -> None:
    """Add stored runs up: who wrote what, why drafts did not stand, what was paid for, and how runs are spread.

    Runs without an outcome are counted apart. In reasons, numbers are N. Work that was thrown away is in tokens and
    costs; `kept` is about the steps that stand.
    """
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import counted, note, say_json, say_lines, width
    from orchestrator.cli.trace_which import none_of, which_of
    from orchestrator.traces.stats import by_policy, stats_of
    from orchestrator.traces.stats_shown import lines, side_by_side

    which = which_of(given)
    with open_journal(given) as journal:
        listing = journal.listed(which, 0)
        none = "" if listing.matching else none_of(journal, listing)
        if by is None:
            found = {"": stats_of(journal, which, _now_and_then())}
        else:
            found = by_policy(journal, which, _now_and_then())
    if not any(each.runs for each in found.values()):
        note(none)
    elif as_json:
        for name, each in found.items():
            say_json(({} if by is None else {"policy": name}) | _plain(each))
    else:
        say_lines(lines(found[""], width=width()) if by is None else side_by_side(found, width()))
    if listing.left_out:
        note(f"{counted(listing.left_out, 'run')} of learners left out: --all counts them")


def _now_and_then() -> Callable[[str], None]:
    """Return what notes what has been read, if that takes long."""
    from time import monotonic

    from orchestrator.cli.streams import note

    last_s = monotonic()

    def tell(read: str) -> None:
        nonlocal last_s
        if monotonic() - last_s > _PATIENCE_S:
            last_s = monotonic()
            note(f"... {read}")

    return tell


def _plain(found: Stats) -> dict[str, Any]:
    return {
        "runs": found.runs,
        "ended": found.ended,
        "statuses": found.statuses,
        "large_share": found.large_share,
        "output_tokens": found.output_tokens,
        "cost": found.cost,
        "per_run": {name: values._asdict() for name, values in found.per_run.items()},
        "writing": [{**each._asdict(), "large_share": each.large_share} for each in found.writing],
        "reasons": [each._asdict() for each in found.reasons],
        "spending": [each._asdict() for each in found.spending],
    }
