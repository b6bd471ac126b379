"""`orchestrator trace show`: one stored run, step by step, or everything about one of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag

if TYPE_CHECKING:
    from orchestrator.runtime.only import Only

__all__ = ["show"]

_SHOWN = 20


@click.command("show", epilog="Example: orchestrator trace show last --only escalated")
@click.argument("name", metavar="[RUN|last]", required=False)
@click.option("--grep", metavar="WORDS", help='Search all runs, or RUN: words, "a phrase", begin*; all must occur.')
@click.option("-n", "number", type=click.IntRange(1), help="Of --grep: texts to show.  [default: 20]")
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="Everything about step N, the first one is 0.")
@click.option(
    "--only",
    type=click.Choice(["escalated", "discarded", "failed"]),
    help="Steps at which a larger engine wrote or a draft did not stand; something was discarded; a call failed.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Everything about the run, or the step, as one JSON object; see `trace export`.",
)
@config_flag
@db_flag
def show(
    name: str | None,
    grep: str | None,
    number: int | None,
    step: int | None,
    only: Only | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Show one run: every step, who wrote it and why, what was discarded, and the ledger.

    RUN is an id or the beginning of one. `x` marks a draft that does not stand. Each engine has its colour, where
    there is colour: on a terminal, unless NO_COLOR is set.

    --grep shows what was asked, written, turned away included, and answered that holds all of the words, the newest
    first. The first search makes an index beside the journal, which takes a while where there are many runs.
    """
    from orchestrator.cli.stored import open_journal, redactor
    from orchestrator.cli.streams import say_json, say_text
    from orchestrator.errors import UserError
    from orchestrator.runtime.fork import ancestors
    from orchestrator.runtime.paper import width_of

    if grep is not None:
        from orchestrator.cli.trace_grep import show_hits

        if only or step is not None:
            raise UserError(f"--grep searches all steps: leave out {'--only' if only else '--step'}")
        show_hits(name, grep, number or _SHOWN, as_json=as_json, given=given)
        return
    if number is not None:
        raise UserError("-n is how much of a --grep to show: say what to search for, or leave it out")
    if only and (as_json or step is not None):
        raise UserError(f"--only {only} leaves out lines of a timeline: leave out {'--json' if as_json else '--step'}")
    with open_journal(given) as journal:
        run = journal.run("last" if name is None else name)
        forked_from = ancestors(journal, run)
    if as_json:
        from orchestrator.traces.record import exported

        if step is not None:
            from orchestrator.traces.step import step_of

            say_json(redactor(given).data(step_of(run, forked_from, step)))
        else:
            say_json(exported(run, forked_from, redactor(given)))
        return
    if step is not None:
        from orchestrator.traces.step_lines import step_text

        say_text(step_text(run, forked_from, step, width=width_of()))
    else:
        from orchestrator.runtime.timeline import timeline

        say_text(timeline(run, forked_from, width=width_of(), only=only))
