"""`orchestrator calibrate`: choose a router's threshold on your own tasks, for what you can bear."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import engine_flags, open_source, option_of, run_flags
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.bench.calibrating import Controls, Setting, Target
    from orchestrator.bench.trial import Risky, Trial
    from orchestrator.intervals import Interval
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["calibrate"]

FEW = 200
"""Below so many tasks the intervals are too wide for most targets, and the command warns."""


@click.command(
    epilog="Example: orchestrator calibrate --router specreason --tasks mine.jsonl --max-accuracy-loss 0.03 "
    "--out calibration.json"
)
@click.option("--router", required=True, metavar="NAME", help="Whose threshold is chosen.")
@click.option("--router-option", multiple=True, metavar="KEY=VALUE", help="Any other option of it; may be repeated.")
@click.option("--option", default="threshold", show_default=True, metavar="KEY", help="The option to choose.")
@click.option("--max-accuracy-loss", type=float, metavar="X", help="Against large-only: 0.01 is one task in a hundred.")
@click.option("--min-accuracy", type=float, metavar="X", help="Share of tasks solved.")
@click.option("--max-large-share", type=float, metavar="X", help="Share of kept steps that the large engine writes.")
@click.option(
    "--max-cost", type=float, metavar="X", help="Per task, in output tokens of the large engine; see --prices."
)
@click.option(
    "--risk",
    type=float,
    metavar="X",
    help="Expected share of drafted steps that are accepted and wrong, behind what the router's own threshold keeps.",
)
@click.option(
    "--tasks", required=True, metavar="NAME[:KEY=VALUE...]|FILE.jsonl", help="Tasks with answers, as `bench run` takes."
)
@click.option("--number", default=400, type=click.IntRange(1), show_default=True, help="Tasks, at most.")
@click.option("--split", default="calibration", show_default=True, metavar="NAME", help="Which of the tasks.")
@click.option("--values", metavar="3..9|0.1..0.9/0.2|A|B", help="What to try; from the readings seen unless given.")
@click.option("--points", default=8, type=click.IntRange(2), show_default=True, help="Values to try unless given.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The calibration; new.")
@click.option("--work", type=click.Path(path_type=Path), metavar="FOLDER", help="Results; OUT.work unless given.")
@engine_flags
@run_flags
@click.option(
    "--hardware",
    default="h200_1p5b_32b",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="Profile of modelled figures.",
)
@click.option("--prices", default="self_hosted", show_default=True, metavar="NAME|FILE.toml", help="What tokens cost.")
@click.option("--json", "as_json", is_flag=True, help="Print what was measured as one JSON object.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
def calibrate(**given: Any) -> int:
    """Choose a router's threshold on your own tasks, and write it down with the pair it was chosen for.

    The router runs at several thresholds on the calibration split, beside small-only and large-only. Of those
    that keep the target at the end of a one-sided 95% interval, the cheapest is chosen, or for a ceiling the most
    accurate; that takes 30 tasks at least. `--risk` controls the expected share of drafted steps that are accepted
    and wrong instead (conformal risk control over tasks); it needs tasks whose single steps can be checked. It holds
    for drafts as they come at the threshold that the router has (`--router-option`, or its default): behind what
    another one keeps there may be more mistakes, so the router is run at the one chosen, which is refused if it clearly
    misses the risk.

    `orchestrator run --calibration FILE` uses it. The same command goes on where it stopped.

    Exit code: 1 if no threshold keeps the target, or a run failed, which the same command tries again; nothing is
    written then. After Ctrl-C 130.
    """
    from orchestrator.cli.interrupt import Interrupted, run_until_done
    from orchestrator.cli.streams import note

    try:
        return run_until_done(_calibrate(given))
    except Interrupted as interrupted:
        note("interrupted: finished runs are kept; the same command goes on")
        return interrupted.exit_code


async def _calibrate(given: Mapping[str, Any]) -> int:
    from orchestrator.bench.trial import Trial
    from orchestrator.cli.bench import shared_settings
    from orchestrator.cli.progress import BenchProgress
    from orchestrator.cli.streams import note
    from orchestrator.cli.workload import workload as workload_of
    from orchestrator.config import router
    from orchestrator.runtime.build import router_of

    target = _target(given)
    out: Path = given["out"]
    if out.exists():
        raise UserError(f"{out} exists: choose another file, or take it away")
    if not out.absolute().parent.is_dir():
        raise UserError(f"{out} cannot be written: its folder does not exist")
    workload = workload_of(given["tasks"])
    if given["split"] not in workload.splits:
        raise UserError(f"--split {given['split']}: {workload.name} has {', '.join(workload.splits)}")
    target.check_tasks(len(workload.draw(given["split"], 0, given["number"])))
    made = router_of(router(given["router"], dict(map(option_of, given["router_option"])), "command line"))
    work = given["work"] or out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    db = given["db"] or (None if given["pipeline"] else str(work / "journal.db"))
    pipeline, _ = await open_source({**given, "router": None, "router_option": (), "counterfactuals": None, "db": db})
    if pipeline.db == ":memory:" and (target.kind == "risk" or given["values"] is None):
        raise UserError(
            "the journal is in memory, and what the router read is looked up in it whenever the command goes on: "
            "give a file with --db"
        )
    progress = BenchProgress(is_quiet=given["quiet"])
    async with pipeline:
        pair = await pipeline.pair()
        trial = Trial(
            pipeline=pipeline,
            router=made,
            option=given["option"],
            workload=workload,
            split=given["split"],
            number=given["number"],
            concurrency=given["concurrency"] or 1,
            folder=work,
            settings={"pipeline": shared_settings(pipeline), "pair": pair.to_json()},
            listener=progress,
            warn=cache(lambda line: None if given["quiet"] else note(f"warning: {line}")),  # once each
        )
        try:
            return await (_by_risk if target.kind == "risk" else _by_accuracy)(trial, target, given)
        finally:
            progress.end()


def _target(given: Mapping[str, Any]) -> Target:
    from orchestrator.bench.calibrating import TARGETS, Target

    asked = [Target(kind, value) for kind in TARGETS if (value := given[kind.replace("-", "_")]) is not None]
    if len(asked) != 1:
        raise UserError(f"give one target, not {len(asked) or 'none'}: {', '.join(f'--{kind}' for kind in TARGETS)}")
    asked[0].check()
    return asked[0]


async def _by_accuracy(trial: Trial, target: Target, given: Mapping[str, Any]) -> int:
    from orchestrator.bench.calibrating import chosen, grid

    values = _values(given) or grid([each.value for each in await trial.readings()], given["points"])
    found, controls = await _measured(trial, values, target, given)
    best, is_met = chosen(found, target)
    _print(trial, target, found, controls, best if is_met else None, given)
    if not is_met:
        _tell_nearest(trial, target, best)
        return 1
    await _write(trial, target, best.threshold, {**best.to_json(), "controls": _shown(controls)}, given)
    return 0


async def _by_risk(trial: Trial, target: Target, given: Mapping[str, Any]) -> int:
    from orchestrator.bench.calibrating import written
    from orchestrator.bench.trial import realised, risky
    from orchestrator.cli.streams import fail

    found = risky(await trial.as_it_is(), trial.workload, target.value)
    if found.threshold is None:
        fail(
            f"no threshold keeps the risk at {written(target.value)}: of {found.steps} drafts {found.wrong} are wrong, "
            "and too many of them read no worse than right ones; nothing is written"
        )
        return 1
    [best], controls = await _measured(trial, [found.threshold], target, given)
    share = realised(await trial.runs_at(found.threshold), trial.workload)
    is_missed = share.low > target.value
    _print(trial, target, [best], controls, None if is_missed else best, given, (found, share))
    if is_missed:
        fail(
            f"run at {written(found.threshold)} the router misses the risk of {written(target.value)}: it is "
            f"{share.value:.4g}, with 95% from {share.low:.4g} on; nothing is written. Begin nearer to it: "
            f"--router-option {trial.option}={written(found.threshold)}, and another --work"
        )
        return 1
    figures = {**best.to_json(), "risk": _shown_risk((found, share)), "controls": _shown(controls)}
    await _write(trial, target, found.threshold, figures, given)
    return 0


def _values(given: Mapping[str, Any]) -> list[float]:
    from orchestrator.bench.spec import swept

    if given["values"] is None:
        return []
    values = [setting["value"] for setting in swept({"value": given["values"]})]
    if not all(type(value) in (int, float) for value in values):
        raise UserError(f"--values {given['values']}: give numbers")
    return [float(value) for value in values]


async def _measured(
    trial: Trial, values: Sequence[float], target: Target, given: Mapping[str, Any]
) -> tuple[list[Setting], Controls]:
    from orchestrator.bench.calibrating import controls, settings
    from orchestrator.bench.profiles import hardware, prices

    writers, measuring = trial.pipeline.writers, trial.pipeline.measuring
    priced = prices(given["prices"], hardware(given["hardware"], writers, measuring), writers, measuring)
    rows, small, large = await trial.at(values)
    return settings(rows, large, priced, target), controls(small, large, priced)


def _shown(controls: Controls) -> dict[str, Any]:
    return {name: each._asdict() for name, each in controls._asdict().items() if name != "tasks"}


def _shown_risk(risk: tuple[Risky, Interval]) -> dict[str, Any]:
    from dataclasses import asdict

    found, realised = risk
    return {**asdict(found), "realised": list(realised)}


# ---- telling


def _print(
    trial: Trial,
    target: Target,
    found: Sequence[Setting],
    controls: Controls,
    best: Setting | None,
    given: Mapping[str, Any],
    risk: tuple[Risky, Interval] | None = None,
) -> None:
    from orchestrator.bench.calibrated_table import table
    from orchestrator.cli.streams import note, printing, say, say_json

    number = controls.tasks
    if number < FEW and not given["quiet"]:
        note(f"warning: {number} tasks are few, and the intervals wide: give {FEW} or more")
    with printing():
        if given["as_json"]:
            say_json(
                {
                    "target": target._asdict(),
                    "tasks": number,
                    "settings": [each.to_json() for each in found],
                    "controls": _shown(controls),
                    "risk": None if risk is None else _shown_risk(risk),
                    "chosen": None if best is None else best.threshold,
                }
            )
        else:
            say(table(trial.option, target, found, controls, best, risk))


def _tell_nearest(trial: Trial, target: Target, nearest: Setting) -> None:
    from orchestrator.bench.calibrating import written
    from orchestrator.cli.streams import fail

    fail(
        f"no {trial.option} keeps {target}: nearest is {written(nearest.threshold)}, whose 95% bound is "
        f"{nearest.bound:.4g}; nothing is written. More tasks narrow the bound"
    )


async def _write(
    trial: Trial, target: Target, threshold: float, figures: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    from orchestrator.cli.streams import note, writing

    calibration = await _calibration(trial.pipeline, trial, target, threshold, figures)
    out: Path = given["out"]
    beside = out.with_name(f".{out.name}.writing")
    with writing(str(out)):
        beside.write_text(json.dumps(calibration.to_json(), indent=1) + "\n", "utf-8")
        os.replace(beside, out)
    if not given["quiet"]:
        note(f"{out}: {calibration}; use it with --calibration {out}")


async def _calibration(
    pipeline: Pipeline, trial: Trial, target: Target, threshold: float, figures: Mapping[str, Any]
) -> Any:
    from dataclasses import replace
    from datetime import UTC, datetime
    from importlib.metadata import version

    from orchestrator.bench.workloads.base import fingerprint
    from orchestrator.runtime.calibration import Calibration, name_of, options_of

    router = replace(trial.router, **{trial.option: threshold})
    options = options_of(router)
    options.pop(trial.option)
    return Calibration(
        router=name_of(router),
        options=options,
        fixes={trial.option: threshold},
        target=target.kind,
        value=target.value,
        measured=figures,
        pair=await pipeline.pair(),
        under=await pipeline.circumstances(router),
        workload=trial.workload.name,
        split=trial.split,
        fitted_on=tuple(map(fingerprint, trial.tasks())),
        made=f"{datetime.now(UTC):%Y-%m-%d}",
        package=version("reasoning-orchestrator"),
    )
