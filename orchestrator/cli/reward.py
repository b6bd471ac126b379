"""`orchestrator reward`: say afterwards what a run was worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag

if TYPE_CHECKING:
    from orchestrator.memory.journal import Journal

__all__ = ["reward"]


@click.command(epilog="Example: orchestrator reward last 1")
@click.argument("name", metavar="RUN|last")
@click.argument("value", type=float)
@click.option(
    "--pipeline", metavar="TARGET", help="The Pipeline in Python that ran it, where its router has no registered name."
)
@config_flag
@db_flag
def reward(name: str, value: float, **given: Any) -> None:
    """Say afterwards what a run was worth.

    RUN is an id or the beginning of one, VALUE a number from 0 to 1; a router that learns, such as linucb,
    learns from it. For tasks without a gold answer, whose worth is known only later: rewards may come in
    any order and from any process, once for each run.
    """
    from orchestrator.cli.streams import note
    from orchestrator.runtime.learning import give_reward

    with _opened(given) as (journal, router):
        rewarded = give_reward(journal, name, value, router)
    learned = f"{rewarded.learner} has learned from it" if rewarded.learner else "its router does not learn"
    lost = f"; {rewarded.uncredited}" if rewarded.uncredited else ""
    note(f"run {rewarded.run_id} was worth {value:g}: {learned}{lost}")


@contextmanager
def _opened(given: Mapping[str, Any]) -> Iterator[tuple[Journal, Any]]:
    """Open the journal to write to it, and give the router of the pipeline that was named, or None."""
    from orchestrator.cli.source import open_source
    from orchestrator.cli.stored import journal_path
    from orchestrator.memory.journal import Journal
    from orchestrator.memory.store import Store
    from orchestrator.runtime.portal import run_sync

    pipeline = run_sync(open_source(given)).pipeline if given["pipeline"] else None
    path = pipeline.db if pipeline else journal_path(given)
    Store(path, readonly=True).close()  # which makes no file where there is none
    with Store(path) as store:
        yield Journal(store), pipeline.router if pipeline else None
