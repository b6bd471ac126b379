"""`orchestrator bench handbook`: what learning from tasks gains on the tasks that come after them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import agent_flags, engine_flags, open_source, router_flags, run_flags
from orchestrator.cli.workload import workload as workload_of
from orchestrator.cli.workload import workload_flag
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.bench.folder import Folder
    from orchestrator.bench.online import OnlinePlan
    from orchestrator.bench.workloads.base import Workload
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["bench_handbook", "report_handbook"]

_REFUSED = {
    "handbook": "begins with an empty handbook of its own",
    "concurrency": "runs one task after another, as each is learned from before the next",
    "counterfactuals": "looks at whole runs",
}
"""Flags of a run that have no place here, and why."""


@click.command(
    "handbook",
    epilog="Example: orchestrator bench handbook --workload tasks.jsonl --tasks 60 --held-out 30 --out results/mine",
)
@workload_flag
@click.option("--tasks", default=60, type=click.IntRange(1), show_default=True, help="To learn from, one by one.")
@click.option("--held-out", default=30, type=click.IntRange(0), show_default=True, help="Others, answered at the end.")
@click.option("--split", metavar="NAME", help="train, calibration or report; report, and of a file all, unless given.")
@click.option("--second-attempts", is_flag=True, help="Beside it, at equal budgets: guided ones, and revised ones.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="New, or to go on in.")
@engine_flags
@router_flags
@agent_flags
@run_flags
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.pass_context
def bench_handbook(ctx: click.Context, /, **given: Any) -> None:
    """Answer tasks one after another, learn from each once it was answered, and report what that gained.

    Each task is answered without a handbook, with the handbook as it stands, and with its shuffled twin: the same
    names and instructions, paired by lot. The answers count; then the large engine reflects on the run, told whether
    it was right, and what it learned is there for the next task. Behind them other tasks are answered, and nothing is
    learned. With --second-attempts the answers without a handbook are tried again, by what was learned from them
    alone, and by revising them, within the budget of one run; for that nobody is told what is right.

    FOLDER gets settings.json, samples.jsonl, where.jsonl, handbook.jsonl (what was learned) and table.txt, beside the
    journal and the handbooks. --seed draws the tasks. The same command goes on where it stopped; `bench report`
    prints the table again.

    Exit code: 0, or 130 after Ctrl-C; a run that fails ends it, as what comes behind depends on it.
    """
    from orchestrator.cli.interrupt import Interrupted, run_until_done
    from orchestrator.cli.streams import note

    try:
        run_until_done(_run(given))
    except Interrupted as interrupted:
        note(f"interrupted: what is done is kept; go on with: {shlex.join(['orchestrator', *ctx.obj])}")
        ctx.exit(interrupted.exit_code)


async def _run(given: Mapping[str, Any]) -> None:
    from orchestrator.bench.folder import Folder

    workload, split = _tasks(given)
    folder = Folder(given["out"])
    db = given["db"] or (None if given["pipeline"] else str(folder.journal))
    pipeline, _ = await open_source({**given, "db": db})
    async with pipeline:
        with folder.held():
            await _fill(folder, pipeline, _plan(given, workload, split, pipeline), is_quiet=given["quiet"])
        report_handbook(folder)


def _tasks(given: Mapping[str, Any]) -> tuple[Workload, str]:
    """Return what the tasks are drawn from, and the split. Raises UserError, also for flags that have no place here."""
    for flag, why in _REFUSED.items():
        if given[flag] is not None:
            raise UserError(f"bench handbook {why}: leave out --{flag}")
    workload = workload_of(given["workload"])
    split = given["split"] or workload.splits[-1]
    if split not in workload.splits:
        raise UserError(f"--split {split}: {workload.name} has {', '.join(workload.splits)}")
    return workload, split


def _plan(given: Mapping[str, Any], workload: Workload, split: str, pipeline: Pipeline) -> OnlinePlan:
    from orchestrator.bench.online import OnlinePlan

    return OnlinePlan(
        workload=workload,
        split=split,
        tasks=given["tasks"],
        held_out=given["held_out"],
        seed=loads(pipeline.settings)["seed"],
        second=given["second_attempts"],
    )


async def _fill(folder: Folder, pipeline: Pipeline, plan: OnlinePlan, *, is_quiet: bool) -> None:
    """Make the samples that a folder lacks, and write down what was learned."""
    from orchestrator.bench.online import Online
    from orchestrator.bench.where import where
    from orchestrator.cli.bench import shared_settings
    from orchestrator.cli.progress import RunBar
    from orchestrator.handbook.exchange import line

    found = await pipeline.start()
    settings = {**plan.settings(), "recall": asdict(pipeline.recall), "pipeline": shared_settings(pipeline)}
    models = {name: can.model for name, can in found.items()}
    folder.begin({**settings, "engines": list(pipeline.engines), "models": models})
    online = Online(pipeline, plan, folder)
    bar = RunBar(online.due, is_quiet=is_quiet)
    if online.due:
        served = {name: f"{can.server}, {can.model}" for name, can in found.items()}
        folder.went_on({**where(), "engines": served})
    try:
        await online.run(bar.advance)
        folder.write("handbook.jsonl", "".join(f"{line(each)}\n" for each in online.learned()))
    finally:
        bar.end()
        online.close()


def report_handbook(folder: Folder) -> None:
    """Write the table of a folder of `bench handbook`, and print it."""
    from orchestrator.bench.online_table import table
    from orchestrator.cli.streams import printing, say, writing

    text = table(folder.samples.values(), folder.settings(), folder.places())
    with writing(f"in {folder.path}"):
        folder.write("table.txt", text)
    with printing():
        say(text.rstrip("\n"))
