"""`orchestrator train-monitor`: fit a monitor on stored runs, and say what it is worth."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import engine_flags
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.learning.labelling import Labels
    from orchestrator.learning.looks import Watched
    from orchestrator.memory.journal import Journal
    from orchestrator.monitors.monitor_file import MonitorFile
    from orchestrator.runtime.pipeline import Pipeline

__all__ = ["MIN_MOVES", "rules_of", "train_monitor"]

_RULES, _ENGINE = "rules", "engine"
MIN_MOVES = {"stuck": 3, "milestone": 2}
"""Below which a monitor never speaks: the published ones' own."""


@click.command(
    "train-monitor",
    epilog="Example: orchestrator train-monitor stuck --db journal.db --labels rules --out stuck.json",
)
@click.argument("kind", type=click.Choice(list(MIN_MOVES)))
@click.option(
    "--labels",
    multiple=True,
    required=True,
    metavar="rules|engine|FILE.jsonl",
    help="Who says at which moves: the monitor of rules, the large engine, or a file; may be repeated.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE.json", help="The monitor.")
@click.option(
    "--rules", metavar="TARGET", help="The rules, a monitor in Python: file.py:object; `stuck` as it is unless given."
)
@engine_flags
@click.option(
    "--false-alarms",
    default=0.05,
    type=click.FloatRange(0, 1),
    show_default=True,
    help="Share of healthy runs in which it may speak.",
)
@click.option(
    "--window", default=6, type=click.IntRange(1, 100), show_default=True, metavar="N", help="Moves that it reads."
)
@click.option("--ask", default=400, type=click.IntRange(1), show_default=True, metavar="N", help="Moves to ask about.")
@click.option(
    "--votes", default=1, type=click.IntRange(1, 99), show_default=True, metavar="N", help="Times to ask about each."
)
@click.option("--concurrency", type=int, metavar="N", help="Questions that are asked side by side.")
@click.option("--budget-tokens", type=int, metavar="N", help="Output tokens of one question.")
@click.option("--seed", default=0, show_default=True, help="Of the draw of the moves to ask about.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.pass_context
def train_monitor(ctx: click.Context, /, **given: Any) -> None:
    """Fit a monitor on stored runs: one that notices where a run is stuck, or at a milestone.

    A pipeline's monitor `classified` runs it. It reads the last moves as text. Every run that has ended is
    learnt from, up to where it was handed over. A file of labels has a `run`, a `step` and a `label`, true
    or false, on each line. Where several label, a move counts if three quarters say yes, or nobody; others
    are dropped. The large engine is asked in runs of its own: the same command asks nothing twice.

    Tasks are split by what they ask: 70% to fit on, 15% to choose the threshold on, 15% that every figure
    is measured on. A monitor that tells nothing there is not written.
    """
    from orchestrator.cli.interrupt import Interrupted, run_until_done
    from orchestrator.cli.streams import note
    from orchestrator.learning.files import check_out

    people = [Path(each) for each in given["labels"] if each not in (_RULES, _ENGINE)]
    read = (*people, given["db"], given["config"])
    check_out(given["out"], [Path(each) for each in read if each is not None])
    _check_flags(given)
    if _ENGINE not in given["labels"]:
        from orchestrator.cli.stored import open_journal

        with open_journal(given) as journal:
            _train(given, _runs(journal, given), people, [])
        return
    try:
        run_until_done(_train_by_engine(given, people))
    except Interrupted as interrupted:
        note(f"interrupted: what was answered is kept; go on with: {shlex.join(['orchestrator', *ctx.obj])}")
        ctx.exit(interrupted.exit_code)


def _check_flags(given: Mapping[str, Any]) -> None:
    if given["rules"] is not None and _RULES not in given["labels"]:
        raise UserError("--rules is for --labels rules: nothing else reads it")
    if _ENGINE in given["labels"]:
        return
    for flag in ("pipeline", "small", "large", "concurrency", "budget_tokens"):
        if given[flag] is not None:
            raise UserError(f"--{flag.replace('_', '-')} is for --labels engine: nothing else asks an engine")


def _runs(journal: Journal, given: Mapping[str, Any]) -> list[Watched]:
    from orchestrator.learning.looks import watched

    ids = [each.id for each in journal.runs(limit=1 << 62)]
    stored = (found for each in reversed(ids) if (found := journal.stored(each)) is not None)
    return watched(stored, given["kind"], given["window"], MIN_MOVES[given["kind"]])


async def _train_by_engine(given: Mapping[str, Any], people: Sequence[Path]) -> None:
    from orchestrator.cli.source import open_source

    pipeline, concurrency = await open_source({**given, "seed": None})  # ours is of the draw of moves
    async with pipeline:
        runs = _runs(pipeline.journal, given)
        _train(given, runs, people, await _asked(given, runs, pipeline, concurrency))


async def _asked(
    given: Mapping[str, Any], runs: Sequence[Watched], pipeline: Pipeline, concurrency: int
) -> Sequence[Labels]:
    from orchestrator.cli.progress import RunBar
    from orchestrator.cli.streams import note
    from orchestrator.learning.asking import Asked, drawn

    asked = Asked(pipeline, given["kind"], drawn(runs, given["ask"], given["seed"]), given["votes"])
    bar = RunBar(len(asked), is_quiet=given["quiet"])
    try:
        await asked.run(concurrency, bar.advance)
    finally:
        bar.end()
    if not given["quiet"]:
        note(f"{len(asked)} questions, {asked.unanswered} without a yes or no, {asked.output_tokens} output tokens")
    return asked.labellings


def _train(given: Mapping[str, Any], runs: list[Watched], people: Sequence[Path], asked: Sequence[Labels]) -> None:
    from orchestrator.learning.labelling import by_rules, from_file, voted
    from orchestrator.learning.monitoring import train, write

    labellings = [*map(from_file, people), *asked]
    if not given["quiet"]:
        _note_unused(labellings[: len(people)], runs)
    if _RULES in given["labels"]:
        labellings.append(by_rules(rules_of(given), given["kind"], runs))
    made = train(
        voted(labellings, runs),
        kind=given["kind"],
        window=given["window"],
        min_moves=MIN_MOVES[given["kind"]],
        false_alarms=given["false_alarms"],
        labels=[each if each in (_RULES, _ENGINE) else "file" for each in given["labels"]],
    )
    write(made, given["out"])
    _tell(made, given)


def rules_of(given: Mapping[str, Any]) -> Any:
    """Return the monitor of rules that labels: that of --rules, else the one of the kind. Raises UserError for none."""
    from orchestrator import monitors
    from orchestrator.cli.source import load_object

    if given["rules"] is not None:
        return load_object(given["rules"], "--rules", object)
    if given["kind"] == "milestone":
        raise UserError(
            "what is a milestone depends on your tasks: give --rules file.py:object, the monitor `milestone` with "
            "subgoals, or take other labels"
        )
    return monitors.find(given["kind"])()


def _note_unused(labellings: Sequence[Labels], runs: Sequence[Watched]) -> None:
    from orchestrator.cli.streams import note

    known = {look[:2] for run in runs for look in run.looks}
    unused = sum(place not in known for each in labellings for place in each)
    if unused:
        note(f"{unused} labels are left out: no move that a monitor looks at ends with their step")


def _tell(made: MonitorFile, given: Mapping[str, Any]) -> None:
    from orchestrator.cli.streams import note, say, say_json
    from orchestrator.learning.monitor_report import FEW, lines

    data, measured = made.data, made.measured
    if given["as_json"]:
        counted = {name: data[name] for name in ("rows", "dropped", "runs", "tasks")}
        say_json({"file": str(given["out"]), "kind": made.kind, "learnt_from": counted, **measured})
    else:
        found = f"{data['rows']} labelled moves of {data['tasks']} tasks, {data['dropped']} dropped"
        say(f"{given['out']}: {made.kind} from a chance of {made.threshold:.3f} on; {found}")
        for line in lines(measured):
            say(line)
    if measured["runs"] < FEW and not given["quiet"]:
        note(f"only {measured['runs']} held-out runs: take every figure with its interval, and run more tasks")
