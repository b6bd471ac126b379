"""`orchestrator trace tail`: a run that another process executes, shown as it goes on."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag

if TYPE_CHECKING:
    from orchestrator.memory.base import StoredRun
    from orchestrator.memory.journal import Journal
    from orchestrator.traces.redact import Redactor
    from orchestrator.traces.tail import Tail

__all__ = ["tail"]

_POLL_S = 0.25
_REST = 4  # times as long as a look took: long runs take longer to read


@click.command("tail", epilog="Example: orchestrator trace tail --follow")
@click.argument("name", metavar="[RUN|last]", default="last")
@click.option("--follow", is_flag=True, help="Go on with the runs that begin after it, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object as the run begins and ends, and per row.")
@config_flag
@db_flag
def tail(name: str, follow: bool, as_json: bool, **given: Any) -> None:
    """Show a run while it goes on: its rows as they are stored, and how it ended.

    RUN is an id or the beginning of one; `last` is the newest that goes on. The rows are those of `trace show`.
    """
    from orchestrator.cli.stored import journal_path, open_journal, redactor
    from orchestrator.cli.streams import note

    hide = redactor(given) if as_json else None
    with open_journal(given) as journal:
        going_on = journal.going_on()
        if name == "last" and going_on:
            name = going_on[0]
        elif name == "last" and not follow:
            note(f"no run is going on in {journal_path(given)}: `trace show` shows the newest")
            return
        newest = journal.run(name)
        if newest.run.id in going_on:
            _tail(journal, newest, hide)
        elif not follow:
            how = newest.outcome.status if newest.outcome else "interrupted"
            note(f"run {newest.run.id} does not go on, it is {how}: `trace show {newest.run.id}` shows it")
            return
        while follow:
            newest = _next(journal, newest)
            _tail(journal, newest, hide)


def _next(journal: Journal, before: StoredRun) -> StoredRun:
    """Return the run that was begun after another one, as soon as there is one."""
    while (name := journal.after(before.run.id)) is None:
        _await_change(journal, journal.changes(), _POLL_S)
    return journal.run(name)


def _tail(journal: Journal, stored: StoredRun, hide: Redactor | None) -> None:
    from orchestrator.cli.streams import say_json, say_text
    from orchestrator.errors import StoreError
    from orchestrator.runtime.fork import ancestors
    from orchestrator.runtime.paper import width_of
    from orchestrator.traces.tail import Tail

    run_id = stored.run.id
    tail = Tail(stored, ancestors(journal, stored), width_of())
    if hide is None:
        say_text(tail.beginning(stored))
    else:
        say_json({"run": run_id})
    while True:
        began_s, seen = monotonic(), journal.changes()
        is_over = run_id not in journal.going_on()
        found = journal.stored(run_id)
        if found is None:
            raise StoreError(f"run {run_id} was taken out of the journal meanwhile")
        _tell(tail, found, is_over, hide)
        if is_over:
            return
        _await_change(journal, seen, max(_POLL_S, _REST * (monotonic() - began_s)))


def _tell(tail: Tail, found: StoredRun, is_over: bool, hide: Redactor | None) -> None:
    from orchestrator.cli.streams import say_json, say_text

    if hide is None:
        if (news := tail.news(found, is_over=is_over)) is not None:
            say_text(news)
        if is_over:
            say_text(tail.end(found))
        return
    for each in tail.objects(found, is_over=is_over):
        say_json(hide.data(each))
    if is_over:
        end = found.outcome
        told = {"status": end.status, "answer": end.answer, "reason": end.reason, "seconds": end.seconds} if end else {}
        say_json(hide.data({"run": found.run.id, "status": "interrupted", **told}))


def _await_change(journal: Journal, seen: int, rest_s: float) -> None:
    """Return when something was stored since `seen`, or after a second: a process that died stores nothing."""
    for _ in range(max(1, round(1 / rest_s))):
        sleep(rest_s)
        if journal.changes() != seen:
            return
