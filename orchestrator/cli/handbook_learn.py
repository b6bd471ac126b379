"""`orchestrator handbook learn` and `curate`: a handbook grows from stored runs, and is kept small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from orchestrator.cli.handbook_file import handbook_flag, handbook_flags, name_flag, reading, writing
from orchestrator.cli.learner import learner_of, learning_flags
from orchestrator.cli.source import engine_flags
from orchestrator.cli.streams import counted, fail, note, say

__all__ = ["curate", "learn"]


@click.command("learn", epilog="Example: orchestrator handbook learn --runs 50 --most 200")
@click.option("--runs", "number", type=click.IntRange(1), default=20, show_default=True, help="Newest runs to look at.")
@learning_flags
@engine_flags
@handbook_flag
@name_flag
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
def learn(number: int, **given: Any) -> int:
    """Learn behaviors from stored runs: an engine reflects on each and extracts what is worth keeping.

    Only runs whose outcome is known are learned from: by a gold answer, or by `orchestrator reward`; with --judge
    also those that an engine holds to be right, or wrong. What is asked is a run of its own, and no run is learned
    from twice. Exit code 1 if nothing of what the engine wrote could be read.
    """
    from orchestrator.cli.interrupt import Interrupted, run_until_done

    try:
        return run_until_done(_learn(number, given))
    except Interrupted as interrupted:
        note("interrupted: what was learned is kept, and the same command goes on from there")
        return interrupted.exit_code


async def _learn(number: int, given: Mapping[str, Any]) -> int:
    from orchestrator.cli.source import open_source
    from orchestrator.learning.looks import OWN
    from orchestrator.memory.handbook import Handbook
    from orchestrator.memory.store import Store

    pipeline, _ = await open_source({**given, "concurrency": None, "seed": None})
    async with pipeline:
        own = pipeline.handbook
        with Store(given["file"] or (own.file if own else pipeline.db)) as store:
            learner = learner_of(pipeline, given, Handbook(store, given["name"]))
            for each in reversed(pipeline.journal.runs(limit=number, without=OWN)):
                await learner.learn(each.id)
            learner.end()
    if learner.useless:
        fail(f"{learner.useless} with --strategist")
    return 1 if learner.useless else 0


@click.command("curate", epilog="Example: orchestrator handbook curate --most 500 --dry-run")
@click.option("--most", type=click.IntRange(1), default=1000, show_default=True, help="Behaviors that may be left.")
@click.option("--min-uses", type=click.IntRange(1), default=8, show_default=True, help="Uses before one is judged.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@handbook_flags
def curate(most: int, min_uses: int, dry_run: bool, **given: Any) -> None:
    """Keep the handbook small: retire what harms, merge what says the same, and let go of what is over the limit.

    Meanings are compared where behaviors have been embedded. One place in ten is kept for the newest that no run has
    used yet.
    """
    from orchestrator.behaviors import Merge
    from orchestrator.learning.curating import planned

    with reading(given) if dry_run else writing(given) as book:
        names = {each.id: each.name for each in book.behaviors()}
        deltas = planned(book, most=most, min_uses=min_uses)
        for delta in deltas:
            if isinstance(delta, Merge):
                say(f"merge {', '.join(names[id] for id in delta.ids)} into {names[delta.into]}")
            else:
                say(f"retire {names[delta.id]}")
        if not dry_run:
            book.apply(deltas, reason="curated")
    note(f"{counted(len(deltas), 'change')}{' would be made' if dry_run else ''}")
