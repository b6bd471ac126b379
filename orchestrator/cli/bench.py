"""`orchestrator bench`: compare policies on tasks with known answers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.bench_handbook import bench_handbook, report_handbook
from orchestrator.cli.source import engine_flags, open_source, run_flags
from orchestrator.cli.workload import workload as workload_of
from orchestrator.cli.workload import workload_flag
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.bench.folder import Folder
    from orchestrator.bench.profiles import Hardware, Prices
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["bench", "shared_settings"]

_POLICIES = "specreason"


@click.group(
    epilog="Example: orchestrator bench run --policies specreason:threshold=3..9 --tasks 200 --out results/mine"
)
def bench() -> None:
    """Compare policies on tasks with known answers, always beside their controls."""


_report_flags = (
    click.option("--hardware", default="h200_1p5b_32b", metavar="NAME|FILE.toml", help="Profile of modelled figures."),
    click.option("--prices", multiple=True, metavar="NAME|FILE.toml", help="Price profiles; self_hosted and api."),
    click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object."),
)


def _with_report_flags(command: Any) -> Any:
    for flag in reversed(_report_flags):
        command = flag(command)
    return command


@bench.command(epilog="Example: orchestrator bench run --workload chain.jsonl:scorer=numeric --policies specreason")
@workload_flag
@click.option(
    "--policies",
    default=_POLICIES,
    metavar="NAME[:KEY=VALUE...][+MONITOR[:KEY=VALUE...]...][+mode=MODE],...",
    help="Routers with options; 3..9, 0.1..0.9/0.2 and a|b sweep one. Controls are always added.",
)
@click.option("--mode", metavar="MODE", help="How much to think, of every policy that does not say so itself.")
@click.option("--tasks", default=200, type=click.IntRange(1), show_default=True, help="Of each seed.")
@click.option("--seeds", default=1, type=click.IntRange(1), show_default=True, help="Independent draws of tasks.")
@click.option("--first-seed", default=0, type=click.IntRange(0), show_default=True, help="Of these; the others follow.")
@click.option("--split", metavar="NAME", help="train, calibration or report; report, and of a file all, unless given.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="New, or to go on in.")
@engine_flags
@run_flags
@_with_report_flags
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.pass_context
def run(ctx: click.Context, /, **given: Any) -> int:
    """Run policies and their controls on the same tasks and report what each solves and costs.

    The controls are small-only, large-only, the step oracle where single steps can be checked, and
    for every policy a random one that lets the large engine write the same share of steps. Option
    `judge=verifier` puts the exact step check in the place of a policy's judge, `judge=small` lets the
    small engine rate. Monitors join a router by `+`, and so does `mode=`: such as
    cascade:turns=2+stuck+mode=no_think; the monitors `every` and `chance` in the others' place are their controls.

    FOLDER gets settings.json, samples.jsonl (a line per run), where.jsonl (machine, versions, commit),
    summary.json, table.txt, pareto.png and pareto.svg. The same command goes on where it stopped and
    tries failed runs again; other settings are refused.

    Exit code: 1 if a run failed or a scorer raised, else 0. After Ctrl-C 130.
    """
    from orchestrator.cli.interrupt import Interrupted, run_until_done
    from orchestrator.cli.streams import note

    try:
        return run_until_done(_run(given))
    except Interrupted as interrupted:
        note(f"interrupted: finished runs are kept; go on with: {shlex.join(['orchestrator', *ctx.obj])}")
        return interrupted.exit_code


async def _run(given: Mapping[str, Any]) -> int:
    from orchestrator.bench.folder import Folder
    from orchestrator.bench.policies import policies_of
    from orchestrator.bench.race import Plan, Race
    from orchestrator.bench.spec import COMMA, outside
    from orchestrator.bench.where import where
    from orchestrator.cli.progress import BenchProgress
    from orchestrator.config import RunOptions

    workload = workload_of(given["workload"])
    split = given["split"] or workload.splits[-1]
    if split not in workload.splits:
        raise UserError(f"--split {split}: {workload.name} has {', '.join(workload.splits)}")
    folder = Folder(given["out"])
    db = given["db"] or (None if given["pipeline"] else str(folder.journal))
    pipeline, _ = await open_source({**given, "db": db, "counterfactuals": None})
    _check_one_after_another(pipeline)
    concurrency = given["concurrency"] or 1  # runs that wait for each other say nothing about speed
    async with pipeline:
        asked = [each for each in outside(COMMA, given["policies"]) if each]
        policies = policies_of(asked, workload, _raters(pipeline))
        found = await pipeline.start()
        # A wrong one is better known before the runs than after.
        profiles = _profiles(given, pipeline.writers, pipeline.measuring)
        share = RunOptions(counterfactuals=given["counterfactuals"] or 0.0).counterfactuals
        shared = {"counterfactuals": share, "mode": given["mode"], "first_seed": given["first_seed"]}
        plan = Plan(workload, split, given["tasks"], given["seeds"], policies, concurrency, **shared)
        progress = BenchProgress(is_quiet=given["quiet"])
        settings = {**plan.settings(), "engines": list(pipeline.engines), "pipeline": shared_settings(pipeline)}
        race = Race(pipeline, plan, folder, progress)
        with folder.held():
            folder.begin({**settings, "models": {name: can.model for name, can in found.items()}})
            if not race.is_over:
                served = {name: f"{can.server}, {can.model}" for name, can in found.items()}
                folder.went_on({**where(), "engines": served})
            try:
                await race.run()
            finally:
                progress.end()
        return _report(folder, profiles, as_json=given["as_json"])


@bench.command(epilog="Example: orchestrator bench report results/mine --hardware my_gpus.toml")
@click.argument("folder", type=click.Path(path_type=Path))
@_with_report_flags
def report(folder: Path, **given: Any) -> int:
    """Compute the report of a FOLDER of results again, under other profiles if you like; no engine is needed.

    The samples may be packed (samples.jsonl.xz). Where there are none, nothing is written.
    """
    from orchestrator.bench.folder import Folder

    results = Folder(folder)
    settings = results.settings()
    results.read()
    if not results.samples:
        raise UserError(f"{folder} has no samples: `orchestrator bench run --out {folder}` makes them")
    if settings.get("protocol") == "handbook":
        report_handbook(results)
        return 0
    return _report(results, _profiles(given, *_roles(settings)), as_json=given["as_json"])


bench.add_command(bench_handbook)


@bench.command("list", epilog="Example: orchestrator bench list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the workloads, policies and scorers that `bench run` takes."""
    from orchestrator import registry
    from orchestrator.bench.scoring import SCORERS
    from orchestrator.bench.workloads import WORKLOADS, errands
    from orchestrator.bench.workloads.random_calculation import PRESETS
    from orchestrator.cli.streams import printing, say, say_json
    from orchestrator.modes import MODES
    from orchestrator.monitors import MONITORS
    from orchestrator.routers import ROUTERS

    found = {
        "workloads": registry.names("workloads", WORKLOADS),
        "presets of random-calculation": list(PRESETS),
        "presets of errands": list(errands.PRESETS),
        "policies": registry.names("routers", ROUTERS),
        "monitors": registry.names("monitors", MONITORS),
        "modes": registry.names("modes", MODES),
        "scorers of a jsonl workload": [*SCORERS, "file.py:function"],
    }
    with printing():
        if as_json:
            say_json(found)
        else:
            for name, values in found.items():
                say(f"{name}: {', '.join(values)}")


def shared_settings(pipeline: Any) -> dict[str, Any]:
    """Return what all policies of a comparison share, for the settings of its folder."""
    import json

    settings: dict[str, Any] = json.loads(pipeline.settings)
    return {
        key: value for key, value in settings.items() if key not in ("router", "seed", "calibration", "counterfactuals")
    }


def _check_one_after_another(pipeline: Pipeline) -> None:
    """Raise UserError for a pipeline with overlap."""
    if "overlap" in shared_settings(pipeline):
        raise UserError(
            "bench run adds up calls as they come one after another, so overlap would look slower than none: leave it "
            "out, and measure it with benchmarks/overlap.py"
        )


def _roles(settings: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the engines that wrote and those that only measured, by the settings of a folder."""
    specs = settings.get("pipeline", {}).get("engines", {})
    writers = [name for name in settings["engines"] if specs.get(name, {}).get("writes", True)]
    return writers, [name for name in settings["engines"] if name not in writers]


def _raters(pipeline: Pipeline) -> list[str]:
    """Return the engines that tell how good a step is and do nothing else."""
    return [name for name in pipeline.measuring if pipeline.specs[name].measures == "prm"]


def _profiles(
    given: Mapping[str, Any], writers: Sequence[str], measuring: Sequence[str]
) -> tuple[Hardware, list[Prices]]:
    from orchestrator.bench.profiles import PRICES, hardware, prices

    machine = hardware(given["hardware"], writers, measuring)
    return machine, [prices(name, machine, writers, measuring) for name in given["prices"] or PRICES]


def _report(folder: Folder, profiles: tuple[Hardware, list[Prices]], *, as_json: bool) -> int:
    import json

    from orchestrator.bench.summary import summarise
    from orchestrator.bench.table import table
    from orchestrator.cli.streams import printing, say, say_json, writing

    settings = folder.settings()
    found = summarise(folder.samples.values(), *profiles, settings)
    summary = {"settings": settings, "where": folder.places(), **found}
    text = table(summary)
    with writing(f"in {folder.path}"):
        folder.write("summary.json", json.dumps(summary, indent=1) + "\n")
        folder.write("table.txt", text + "\n")
        if summary["policies"]:
            _plot(summary, folder.path)
    with printing():
        say_json(summary) if as_json else say(text)
    policies = summary["policies"].values()
    return int(any(each["scorer_errors"] or each["statuses"].get("failed") for each in policies))


def _plot(summary: Mapping[str, Any], folder: Path) -> None:
    from orchestrator.bench.plot import plot
    from orchestrator.cli.streams import note

    try:
        plot(summary, [folder / "pareto.png", folder / "pareto.svg"])
    except UserError as error:
        note(f"no plot: {error}")
