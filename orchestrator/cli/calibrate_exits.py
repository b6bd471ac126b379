"""`orchestrator calibrate-exits`: find out on your own tasks where thoughts can be ended, at a risk you can bear."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import engine_flags, mode_flag, open_source, option_of, router_flags, run_flags
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.bench.workloads.base import Workload
    from orchestrator.cli.source import Source
    from orchestrator.learning.exits import Thought
    from orchestrator.learning.watching import Watching
    from orchestrator.monitors.overthinking import Exit
    from orchestrator.runtime.pipeline import Pipeline
    from orchestrator.types import Task

__all__ = ["calibrate_exits"]

RISKS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""What the table has besides the risk that is asked for."""


@click.command(
    "calibrate-exits",
    epilog="Example: orchestrator calibrate-exits --tasks random-calculation:preset=mid --risk 0.05 --out exits.json",
)
@click.option(
    "--tasks", required=True, metavar="NAME[:KEY=VALUE...]|FILE.jsonl", help="Tasks with answers, as `bench run` takes."
)
@click.option("--number", default=400, type=click.IntRange(1), show_default=True, help="Tasks, at most.")
@click.option("--split", default="calibration", show_default=True, metavar="NAME", help="Which of the tasks.")
@click.option(
    "--signal",
    default="trial-answer",
    show_default=True,
    type=click.Choice(["trial-answer", "saturation", "convergence"]),
    help="What looks at the thoughts.",
)
@click.option("--option", multiple=True, metavar="KEY=VALUE", help="An option of the signal; may be repeated.")
@click.option(
    "--mistake",
    default="wrong",
    show_default=True,
    type=click.Choice(["wrong", "harmful"]),
    help="What an exit must not do: end on a wrong answer; or on one where the whole thought comes to a right one.",
)
@click.option(
    "--risk",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Chance that a run ends its thought by mistake.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The risk is kept with it, such as 0.95; on average over calibrations unless given.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The calibration; new.")
@engine_flags
@router_flags
@mode_flag
@run_flags
@click.option("--json", "as_json", is_flag=True, help="Print what was measured as one JSON object.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
def calibrate_exits(**given: Any) -> int:
    """Find out on your own tasks where thoughts can be ended early, and write it down for the monitor `overthinking`.

    Every task is thought about to the end while the signal looks and does not act; beside the gold answers that
    says what any threshold would have saved, and where it would have ended by mistake. The file serves any risk
    that there are tasks enough for: 19 for 0.05, or 59 with a confidence of 0.95. It is refused for other engines, and
    under another router, mode, temperature or delimiter.

    `orchestrator run --monitor overthinking:file=FILE,risk=0.05` uses it. Other exits of the pipeline are left
    out meanwhile. Runs are journaled in OUT.work unless --db says where; the same command goes on where it stopped.

    Exit code: 1 if a run failed, which the same command tries again; nothing is written then. After Ctrl-C 130.
    """
    from orchestrator.cli.interrupt import Interrupted, run_until_done
    from orchestrator.cli.streams import note

    try:
        return run_until_done(_calibrate(given))
    except Interrupted as interrupted:
        note("interrupted: finished runs are kept; the same command goes on")
        return interrupted.exit_code


async def _calibrate(given: Mapping[str, Any]) -> int:
    from orchestrator.cli.progress import RunBar
    from orchestrator.cli.streams import fail
    from orchestrator.cli.workload import workload as workload_of
    from orchestrator.learning.watching import Watching

    _check_out(given["out"])
    exit, workload = _exit(given), workload_of(given["tasks"])
    tasks = _tasks(workload, given)
    pipeline, concurrency = await _source(given)
    async with pipeline:
        watched = _watched(pipeline, exit)
        watching = Watching(watched, tasks, exit)
        bar = RunBar(len(watching), is_quiet=given["quiet"])
        try:
            await watching.run(concurrency, bar.advance)
        finally:
            bar.end()
        if watching.failed:
            failed = f"{watching.failed} of {len(watching)} runs failed"
            fail(f"{failed}: the same command tries them again; nothing is written")
            return 1
        thoughts = watching.thoughts(lambda task, answer: answer is not None and workload.score(task, answer) >= 1)
        if not any(thought.looks for thought in thoughts):
            raise UserError(
                f"{given['signal']} found nothing to look at in {len(thoughts)} runs: do the engines think before they "
                "answer? Try --mode think, or --option when=steps"
            )
        await _finish(watched, watching, thoughts, exit, workload, given)
    return 0


def _check_out(out: Path) -> None:
    if out.exists():
        raise UserError(f"{out} exists: choose another file, or take it away")
    if not out.absolute().parent.is_dir():
        raise UserError(f"{out} cannot be written: its folder does not exist")


def _exit(given: Mapping[str, Any]) -> Exit:
    """Return the signal, made to look and not to act."""
    from orchestrator.config import monitor
    from orchestrator.monitors.overthinking import NOT_IN_FILE

    options = dict(option_of(each, "--option") for each in given["option"])
    for name in NOT_IN_FILE:
        if name in options:
            raise UserError(f"--option {name}: leave it out, the calibration says it")
    made: Exit = monitor(given["signal"], {**options, "acts": False}, "command line")
    return made


def _tasks(workload: Workload, given: Mapping[str, Any]) -> list[Task]:
    """Return the tasks. Raises UserError where they are too few for the risk, with the number needed."""
    from orchestrator.bench.workloads.base import fingerprint
    from orchestrator.conformal import least_points

    if given["split"] not in workload.splits:
        raise UserError(f"--split {given['split']}: {workload.name} has {', '.join(workload.splits)}")
    tasks = workload.draw(given["split"], 0, given["number"])
    number, needed = len(set(map(fingerprint, tasks))), least_points(given["risk"], given["confidence"])
    if number < needed:
        sure = "" if given["confidence"] is None else f" with --confidence {given['confidence']}"
        raise UserError(f"--risk {given['risk']}{sure} needs at least {needed} tasks; there are {number}")
    return tasks


async def _source(given: Mapping[str, Any]) -> Source:
    db = given["db"]
    if db is None and not given["pipeline"]:
        work = given["out"].with_name(given["out"].name + ".work")
        work.mkdir(parents=True, exist_ok=True)
        db = str(work / "journal.db")
    return await open_source({**given, "counterfactuals": None, "db": db})


def _watched(pipeline: Pipeline, exit: Exit) -> Pipeline:
    """Return the pipeline with the exit in the place of those that would end thoughts."""
    from orchestrator.monitors.overthinking import SIGNALS, Overthinking

    ending = (Overthinking, *SIGNALS.values())
    others = [each for each in pipeline.monitors if not isinstance(each, ending)]
    return pipeline.but(router=pipeline.router, calibration=pipeline.calibration, monitors=[*others, exit])


async def _finish(
    watched: Pipeline,
    watching: Watching,
    thoughts: Sequence[Thought],
    exit: Exit,
    workload: Workload,
    given: Mapping[str, Any],
) -> None:
    """Print what was measured, and write it down."""
    from datetime import UTC, datetime
    from importlib.metadata import version

    from orchestrator.bench.exits import at_risks
    from orchestrator.bench.exits_table import oracle_saving, table
    from orchestrator.cli.streams import printing, say, say_json
    from orchestrator.learning.exits import exit_options, name_of, worst
    from orchestrator.monitors.exit_file import ExitFile

    risk, mistake = given["risk"], given["mistake"]
    rows = at_risks(thoughts, sorted({*RISKS, risk}), mistake, given["confidence"])
    measured = {
        "tasks": len(thoughts),
        "confidence": given["confidence"],
        "oracle_saved": oracle_saving(thoughts),
        "risks": rows,
    }
    known = ExitFile(
        signal=name_of(exit),
        options=exit_options(exit),
        mistake=mistake,
        worst=worst(thoughts, mistake),
        pair=(await watched.pair()).to_json(),
        under=await watched.circumstances(exit),
        measured=measured,
        workload=workload.name,
        split=given["split"],
        fitted_on=tuple(watching.fingerprints),
        made=f"{datetime.now(UTC):%Y-%m-%d}",
        package=version("reasoning-orchestrator"),
    )
    with printing():
        if given["as_json"]:
            say_json({"signal": known.signal, "mistake": mistake, "risk": risk, **measured})
        else:
            say(table(thoughts, rows, risk, mistake))
    _write(known, given)


def _write(known: Any, given: Mapping[str, Any]) -> None:
    from orchestrator.cli.streams import note, writing

    out: Path = given["out"]
    beside = out.with_name(f".{out.name}.writing")
    with writing(str(out)):
        beside.write_text(json.dumps(known.to_json(), indent=1) + "\n", "utf-8")
        os.replace(beside, out)
    if not given["quiet"]:
        options = {"signal": known.signal, "file": out, "risk": given["risk"], "confidence": given["confidence"]}
        told = ",".join(f"{name}={value}" for name, value in options.items() if value is not None)
        note(f"{out} is written; use it with --monitor overthinking:{told}")
