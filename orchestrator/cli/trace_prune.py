"""`orchestrator trace prune`: take stored runs away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.durations import in_seconds
from orchestrator.cli.source import config_flag, db_flag
from orchestrator.cli.trace_which import STATUSES

if TYPE_CHECKING:
    from orchestrator.memory.pruning_plan import Plan

__all__ = ["prune_runs"]

_STATUSES = tuple(each for each in STATUSES if each != "running")  # those stay
_WAIT_S = 60.0


@click.command("prune", epilog="Example: orchestrator trace prune --older-than 30d --keep-last 100")
@click.argument("names", metavar="[RUN|last]...", nargs=-1)
@click.option(
    "--older-than", metavar="AGE", callback=in_seconds, help="Runs that began longer ago, such as 30d or 12h."
)
@click.option("--keep-last", type=click.IntRange(0), metavar="N", help="All but the newest N of what is chosen.")
@click.option("--status", type=click.Choice(_STATUSES), help="Runs that ended, or stand, like this.")
@click.option("--batch", metavar="NAME", help="Runs of batches whose names begin like this.")
@click.option("--with-forks", is_flag=True, help="And the forks of what is chosen.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="What would go, or what went, as one JSON object.")
@config_flag
@db_flag
def prune_runs(
    names: tuple[str, ...],
    older_than: float | None,
    keep_last: int | None,
    status: str | None,
    batch: str | None,
    with_forks: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Take stored runs away for good. Nothing else ever does: traces are kept until you prune them.

    Each rule narrows what is chosen, and one is needed. It says what would go and asks first.

    Some runs stay: those being executed, those that a run which stays is a fork of, and those that a learning
    router's state came from, if it is the newest or one that a run which stays began with. A run takes its reward and
    its older states along; a handbook keeps what it learned, and names the run still. A batch that is resumed does
    again what was pruned of it.

    Runs may go on meanwhile. The file gets no smaller: `db vacuum` gives the space back, and until then what was
    taken may still be found in it.
    """
    from orchestrator.cli.stored import journal_path
    from orchestrator.cli.streams import can_ask, counted, note, say, say_json
    from orchestrator.errors import UserError
    from orchestrator.memory.pruning import prune
    from orchestrator.memory.pruning_plan import Rules, plan
    from orchestrator.memory.store import Store

    rules = Rules(
        runs=names, older_than_s=older_than, keep_last=keep_last, status=status, batch=batch, with_forks=with_forks
    )
    path = journal_path(given)
    with Store(path, readonly=True) as store:
        planned = plan(store, rules)
    if as_json and (dry_run or not planned.keys):
        say_json(_plain(planned))
    elif not as_json:
        for line in _told(planned):
            say(line)
    if dry_run or not planned.keys:
        return 0
    if not yes and not can_ask():
        raise UserError("nothing was pruned: nobody said yes; give --yes where nobody can be asked")
    if not yes and not click.confirm(f"Take {counted(len(planned.keys), 'run')} away for good?", err=True):
        note("nothing was pruned")
        return 0
    with Store(path, wait_s=_WAIT_S) as store:
        done = prune(store, planned)
    if as_json:
        say_json({**_plain(planned), "pruned": done.runs, "texts": done.texts, "stayed": done.stayed})
    else:
        since = f"; {done.stayed} stayed, they changed, or are needed by now" if done.stayed else ""
        say(
            f"pruned {counted(done.runs, 'run')} and {counted(done.texts, 'text')}{since}: `db vacuum` gives space back"
        )
    return 0


def _told(planned: Plan) -> list[str]:
    from orchestrator.cli.db_size import in_bytes
    from orchestrator.cli.streams import counted

    runs, steps = counted(len(planned.keys), "run"), counted(planned.steps, "step")
    what = f"{runs} would go: {steps}, about {in_bytes(planned.bytes)}" if planned.keys else "no run would go"
    return [what, *(f"  {counted(number, 'run')} would stay: {why}" for why, number in planned.stays.items())]


def _plain(planned: Plan) -> dict[str, Any]:
    return {
        "runs": len(planned.keys),
        "steps": planned.steps,
        "bytes": planned.bytes,
        "stays": dict(planned.stays),
        "rules": str(planned.rules),
    }
