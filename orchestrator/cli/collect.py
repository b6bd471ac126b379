"""`orchestrator collect`: runs in which both engines write every step, for a router to learn from."""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import engine_flags, run_flags
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.engines.scorers.base import Scorer
    from orchestrator.learning.collecting import Collection
    from orchestrator.learning.summary import Summary
    from orchestrator.types import Task

__all__ = ["collect"]


@click.command(
    epilog="Example: orchestrator collect random-calculation:preset=mid --scorer verifier --tasks 400 --out rows.jsonl"
)
@click.argument("what", nargs=-1, required=True, metavar="TASKS.jsonl...|WORKLOAD[:KEY=VALUE...]")
@engine_flags
@run_flags
@click.option("--scorer", default="prm", show_default=True, metavar="NAME", help="Whose word says what is better.")
@click.option("--also", multiple=True, metavar="NAME", help="A scorer to ask besides; may be repeated.")
@click.option(
    "--samples", default=1, type=click.IntRange(1, 10_000), show_default=True, help="Steps of the large engine each."
)
@click.option(
    "--continue",
    "go_on",
    type=click.Choice(["better", "mixed"]),
    default="better",
    show_default=True,
    help="What a run goes on with: the higher score, or either by lot.",
)
@click.option(
    "--logprobs", default=5, type=click.IntRange(0, 100), show_default=True, help="Alternatives per token of drafts."
)
@click.option(
    "--tree",
    default=0,
    type=click.IntRange(0, 16),
    metavar="DEPTH",
    help="Go on from the other candidate, too, at each of the first DEPTH steps.",
)
@click.option("--tasks", type=click.IntRange(1), show_default="400", help="Of a workload.")
@click.option("--split", metavar="NAME", help="Of a workload; its first one, which is train, unless given.")
@click.option("--task-seed", type=int, show_default="0", help="Of the draw of a workload's tasks.")
@click.option("--seed", type=int, help="Every draw of a run follows from it, those of --continue mixed, too.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.jsonl", help="Export the rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.pass_context
def collect(ctx: click.Context, /, what: tuple[str, ...], **given: Any) -> int:
    """Let both engines write every step, score both, and keep it all in the journal.

    TASKS are files as `orchestrator run` takes them, or one workload of `bench list`. A workload that
    can check single steps brings the scorer `verifier`. The same command goes on where it was
    interrupted, and tries failed runs again. The rows that --out writes are what `train-router` reads.

    After `--continue better` the steps in front of a draft are nearly always right; a router meets its
    own mistakes, too, and learns to judge behind them from `mixed`, where each run draws a share of
    steps for the large engine.

    With --tree every choice among the first DEPTH steps is tried both ways and followed to an answer:
    up to 2^DEPTH runs of a task. `trace replay` then tells what any threshold would have answered. Rows
    are made of the tasks' own runs only.

    Exit code: 1 if a run failed, else 4 if a budget ended one, else 0. After Ctrl-C 130.
    """
    from orchestrator.cli.interrupt import Interrupted, run_until_done
    from orchestrator.cli.streams import note

    try:
        return run_until_done(_collect(what, given))
    except Interrupted as interrupted:
        note(f"interrupted: finished runs are kept; go on with: {shlex.join(['orchestrator', *ctx.obj])}")
        return interrupted.exit_code


async def _collect(what: tuple[str, ...], given: Mapping[str, Any]) -> int:
    from orchestrator.cli.progress import RunBar
    from orchestrator.cli.source import open_source
    from orchestrator.cli.streams import note
    from orchestrator.learning.collecting import Collection
    from orchestrator.learning.files import check_out
    from orchestrator.learning.rows import export
    from orchestrator.learning.summary import Counts, counting, exact_first
    from orchestrator.routers.collect import Collect

    if given["out"] is not None:
        read = (*what, given["db"], given["config"])
        check_out(given["out"], [Path(each) for each in read if each is not None])
    tasks, scorers = _tasks(what, given)
    policy = Collect(
        scorer=given["scorer"],
        also=given["also"],
        samples=given["samples"],
        go_on=given["go_on"],
        logprobs=given["logprobs"],
    )
    pipeline, concurrency = await open_source(given)
    async with pipeline:
        collection = Collection(pipeline, tasks, policy, scorers, tree=given["tree"])
        if given["tree"] and not given["quiet"]:
            most = 2 ** given["tree"]
            note(f"a tree of depth {given['tree']}: at most {most} runs a task, {most * len(collection)} in all")
        bar = RunBar(len(collection), is_quiet=given["quiet"])
        try:
            await collection.run(concurrency, bar.advance)
        finally:
            bar.end()
        counts = {given["scorer"]: Counts(), **{name: Counts(name) for name in given["also"]}}
        rows = counting(collection.rows(), list(counts.values()))
        if given["out"] is not None:
            export(given["out"], await collection.about(), rows)
        else:
            deque(rows, maxlen=0)  # to be counted
        _tell(collection, {name: counts[name].summary() for name in exact_first(counts)}, given)
    return 1 if collection.failed else 4 if collection.over_budget else 0


def _tasks(what: tuple[str, ...], given: Mapping[str, Any]) -> tuple[list[Task], dict[str, Scorer]]:
    """Return the tasks, and the scorers that they bring."""
    from orchestrator.cli.workload import workload
    from orchestrator.engines.scorers.verifier import Verifier
    from orchestrator.runtime.tasks import read_tasks

    files = [each for each in what if each.endswith(".jsonl")]
    if not files and len(what) == 1:
        found = workload(what[0])
        split = given["split"] or found.splits[0]
        if split not in found.splits:
            raise UserError(f"--split {split}: {found.name} has {', '.join(found.splits)}")
        scorers: dict[str, Scorer] = {} if found.check is None else {"verifier": Verifier(check=found.check)}
        number = 400 if given["tasks"] is None else given["tasks"]
        return found.draw(split, given["task_seed"] or 0, number), scorers
    if len(files) < len(what):
        raise UserError("give files of tasks that end in .jsonl, or one workload of `orchestrator bench list`")
    for option in ("tasks", "split", "task_seed"):
        if given[option] is not None:
            raise UserError(f"--{option.replace('_', '-')} is for a workload: all tasks of a file are collected")
    tasks = []
    for file in files:
        for line in read_tasks(Path(file)):
            if line.task is None:
                raise UserError(f"{file}:{line.number}: {line.error}")
            tasks.append(line.task)
    return tasks, {}


def _tell(collection: Collection, summaries: Mapping[str, Summary], given: Mapping[str, Any]) -> None:
    from dataclasses import asdict

    from orchestrator.cli.streams import note, say, say_json
    from orchestrator.learning.metrics import plain
    from orchestrator.learning.report import FEW

    found, runs = summaries[given["scorer"]], len(collection) + collection.branches
    names = ("unscored", "unfinished", "failed", "over_budget", *(["branches"] if given["tree"] else []))
    counted = {name: getattr(collection, name) for name in names}
    left_out = {
        "not every candidate has a score": collection.unscored,
        "not every candidate was written": collection.unfinished,
    }
    if given["as_json"]:
        also = {name: asdict(other) for name, other in summaries.items() if other is not found}
        say_json(plain({**asdict(found), "also": also, **counted}))
    else:
        for name, of in summaries.items():
            say(f"{of.steps} steps of {of.tasks} tasks, scored by {name} [95% intervals by task]")
            say(f"  the large engine was better (oracle share)        {of.better}")
            say(f"  drafts that are wrong                             {of.wrong}")
            say(f"  P(large also wrong | small wrong)                 {of.both_wrong}")
        for why, number in left_out.items():
            if number:
                say(f"{number} drafts gave no row: {why}")
        if given["tree"]:
            say(f"{runs} runs of {len(collection)} tasks: {collection.branches} branches, which give no rows")
        if collection.over_budget:
            say(f"{collection.over_budget} runs of {runs} were ended by a budget")
    if given["quiet"]:
        return
    drafts = found.steps + sum(left_out.values())
    for why, number in left_out.items():
        if number:
            note(f"{number} drafts of {drafts} are left out, {why}; `orchestrator trace` says why")
    if collection.failed:
        note(f"{collection.failed} runs failed; the same command tries them again")
    if collection.over_budget:
        note(
            f"{collection.over_budget} runs of {runs} were ended by a budget, and what would have followed "
            "is not collected: raise --budget-tokens, or the limit that `orchestrator trace` names, and collect anew"
        )
    if found.steps < FEW:
        note(f"{found.steps} steps are few to learn from: collect at least {FEW}, better some thousands")
