"""`orchestrator trace diff`: where two stored runs part, and what that cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag

if TYPE_CHECKING:
    from orchestrator.memory.base import DecisionRow
    from orchestrator.traces.diff import Deciding, Diff

__all__ = ["trace_diff"]


@click.command("diff", epilog="Example: orchestrator trace diff 06bk2v5x 06bk2w7a")
@click.argument("ours", metavar="RUN")
@click.argument("theirs", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with every decision that differs.")
@config_flag
@db_flag
def trace_diff(ours: str, theirs: str, as_json: bool, **given: Any) -> None:
    """Compare two runs: where they part first, which decisions differ, and tokens and cost of each.

    RUN is an id or the beginning of one, or `last`.
    """
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import say, say_json
    from orchestrator.runtime.fork import ancestors
    from orchestrator.traces.diff import diff_of
    from orchestrator.traces.diff_shown import lines

    with open_journal(given) as journal:
        first, second = journal.run(ours), journal.run(theirs)
        found = diff_of(first, second, ancestors(journal, first), ancestors(journal, second))
    if as_json:
        say_json(_plain(found))
        return
    for line in lines(found):
        say(line)


def _plain(found: Diff) -> dict[str, Any]:
    from dataclasses import fields

    return {
        **{each.name: getattr(found, each.name) for each in fields(found)},
        "first": found.first and found.first._asdict(),
        "decisions": [_decision(each) for each in found.decisions],
        "spending": [each._asdict() for each in found.spending],
    }


def _decision(each: Deciding) -> dict[str, Any]:
    rows = {name: row and _row(row) for name, row in (("ours", each.ours), ("theirs", each.theirs))}
    return {"step": each.step, "attempt": each.attempt, "door": each.door, "is_other": each.is_other, **rows}


def _row(row: DecisionRow) -> dict[str, Any]:
    names = ("action", "engine", "reason", "threshold", "margin", "policy")
    return {name: getattr(row, name) for name in names}
