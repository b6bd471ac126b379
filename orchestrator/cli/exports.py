"""`orchestrator export`: stored runs as the JSON lines that trainers read."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag, engine_flags, run_flags
from orchestrator.errors import UserError
from orchestrator.types import Status

if TYPE_CHECKING:
    from orchestrator.exports.choosing import Chosen, Wanted
    from orchestrator.exports.reversing import Reverse

__all__ = ["export"]

_STATUSES = tuple(Status)


def _chosen_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which runs are read, and where the lines go."""
    flags = (
        click.argument("names", metavar="[RUN|last]...", nargs=-1),
        click.option("--batch", default="", metavar="NAME", help="Only runs whose batch begins like this."),
        click.option(
            "--status", multiple=True, type=click.Choice([*map(str, Status)]), help="Ended like this; may be repeated."
        ),
        click.option("--since", metavar="TIME", help="Begun then or later: 2026-11-27, or 2026-11-27T14:30."),
        click.option("--until", metavar="TIME", help="Begun before."),
        click.option(
            "--split",
            type=click.Choice(["train", "calibration", "report", "all"]),
            default="train",
            show_default=True,
            help="Tasks of this split only; `report` is what benchmarks are reported on.",
        ),
        click.option("--out", type=click.Path(path_type=Path), metavar="FILE.jsonl", help="stdout unless given."),
        click.option("--quiet", is_flag=True, help="Nothing on stderr but errors."),
    )
    for flag in reversed(flags):
        command = flag(command)
    return command


def _journal_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    return config_flag(db_flag(command))


@click.group(epilog="Example: orchestrator export sft --db journal.db --out sft.jsonl")
def export() -> None:
    """Make training data of stored runs: one JSON line per run or step, as trainers read them.

    Runs are read oldest first, all of them unless some are named. Tasks are cut into train, calibration and
    report as benchmarks cut them, and only those of train are exported unless --split says otherwise. How many
    runs are left out, and why, is told on stderr. Texts are those of the journal; API keys are never in it.
    """


@export.command(epilog="Example: orchestrator export sft --batch file: --out sft.jsonl")
@_chosen_flags
@click.option("--plain", is_flag=True, help="Runs as well that were shown no behaviors.")
@_journal_flags
def sft(plain: bool, **given: Any) -> None:
    """Export right runs as chats, the behaviors that they were shown taken out: BC-SFT.

    A run is right by its reward, or else by its gold answer. The schema is orchestrator.exports.sft.Sft.
    """
    from orchestrator.exports.sft import line

    _export(given, lambda run: [line(run, plain=plain)])


@export.command(epilog="Example: orchestrator export drafts --pairs --out pairs.jsonl")
@_chosen_flags
@click.option("--pairs", is_flag=True, help="Only replaced drafts, as chosen and rejected.")
@_journal_flags
def drafts(pairs: bool, **given: Any) -> None:
    """Export what a smaller engine drafted at each step, and what was kept: to train a drafter.

    The schemas are orchestrator.exports.drafts.Log, and Pair with --pairs.
    """
    from orchestrator.exports.drafts import lines

    _export(given, lambda run: lines(run, pairs=pairs))


@export.command(epilog="Example: orchestrator export router --db journal.db --out router.jsonl")
@_chosen_flags
@click.option("--history/--no-history", default=True, help="Tell who wrote the steps before.")
@_journal_flags
def router(history: bool, **given: Any) -> None:
    """Export the scored drafts of `orchestrator collect`, with features and labels.

    The schema is orchestrator.exports.router.RouterLine.
    """
    from orchestrator.exports.router import lines

    _export(given, lambda run: lines(run, history=history))


@export.command(epilog="Example: orchestrator export monitor stuck --labels rules --out stuck.jsonl")
@click.argument("kind", type=click.Choice(["stuck", "milestone"]))
@_chosen_flags
@click.option(
    "--labels", multiple=True, required=True, metavar="rules|FILE.jsonl", help="Who says at which moves; repeatable."
)
@click.option("--rules", metavar="TARGET", help="The rules, as for `train-monitor`.")
@click.option("--window", default=6, type=click.IntRange(1, 100), show_default=True, metavar="N", help="Moves read.")
@_journal_flags
def monitor(kind: Any, labels: tuple[str, ...], window: int, **given: Any) -> None:
    """Export the labelled moves of runs: what a monitor would have read, and whether it was so.

    KIND and labels are those of `train-monitor`. The schema is orchestrator.exports.monitor.MonitorLine.
    """
    from orchestrator.cli.train_monitor import MIN_MOVES, rules_of
    from orchestrator.exports.monitor import Labelling, lines
    from orchestrator.learning.labelling import from_file

    if given["rules"] is not None and "rules" not in labels:
        raise UserError("--rules is for --labels rules: nothing else reads it")
    labelling = Labelling(
        kind,
        window,
        MIN_MOVES[kind],
        rules_of({**given, "kind": kind}) if "rules" in labels else None,
        [from_file(Path(each)) for each in labels if each != "rules"],
    )
    _export(given, lambda run: lines(run, labelling), statuses=_STATUSES)


@export.command(epilog="Example: orchestrator export reverse --db journal.db --out reverse.jsonl")
@_chosen_flags
@engine_flags
@run_flags
@click.option("--seed", type=int, help="Every draw follows from it.")
@click.option(
    "--accept-from",
    type=float,
    default=0.01,
    show_default=True,
    metavar="P",
    help="Probability that the student gives a token of the teacher's, at least.",
)
@click.option("--length", type=int, default=4096, show_default=True, metavar="N", help="Tokens of a trace, at most.")
@click.pass_context
def reverse(ctx: click.Context, /, accept_from: float, length: int, **given: Any) -> None:
    """Write new traces that the small engine can follow, for the tasks of stored runs, and export them.

    The large engine proposes each token, and the small one takes it where it gives it at least P, or else writes
    its own; both must share a tokenizer. Traces are runs of the journal: the same command writes none twice.
    The schema is orchestrator.exports.reverse.ReverseLine.
    """
    from orchestrator.cli.interrupt import Interrupted, run_until_done
    from orchestrator.cli.streams import note
    from orchestrator.exports.reversing import Reverse

    options = Reverse(threshold=accept_from, length=length)
    wanted = _wanted(given, _STATUSES)
    try:
        run_until_done(_reverse(options, wanted, given))
    except Interrupted as interrupted:
        note(f"interrupted: finished traces are kept; go on with: {shlex.join(['orchestrator', *ctx.obj])}")
        ctx.exit(interrupted.exit_code)


async def _reverse(options: Reverse, wanted: Wanted, given: Mapping[str, Any]) -> None:
    from orchestrator.cli.source import open_source
    from orchestrator.exports.choosing import chosen, lines_of
    from orchestrator.exports.reverse import Traces

    left: Counter[str] = Counter()
    pipeline, concurrency = await open_source(given)
    async with pipeline:
        traces = Traces(pipeline, options)
        await traces.check()
        sources = await traces.write_all(chosen(pipeline.journal, wanted, left), concurrency, left)
        _put(given, lines_of(sources, lambda run: [traces.line(run)], left), left)


def _export(
    given: Mapping[str, Any],
    make: Callable[[Chosen], Iterable[dict[str, Any]]],
    statuses: tuple[Status, ...] | None = None,
) -> None:
    from orchestrator.cli.stored import open_journal
    from orchestrator.exports.choosing import chosen, lines_of

    wanted, left = _wanted(given, statuses), Counter[str]()
    with open_journal(given) as journal:
        _put(given, lines_of(chosen(journal, wanted, left), make, left), left)


def _wanted(given: Mapping[str, Any], statuses: tuple[Status, ...] | None) -> Wanted:
    """Return which runs are asked for; `statuses` unless the flag names some, None for whole runs. Checks where lines
    are to go, too."""
    from orchestrator.bench.workloads.owner import split_of
    from orchestrator.exports.choosing import WHOLE, Wanted
    from orchestrator.learning.files import check_out

    if given["out"] is not None:
        check_out(given["out"], [Path(each) for each in (given["db"], given["config"]) if each is not None])
    times = {f"{name}_s": _time(name, given[name]) for name in ("since", "until") if given[name] is not None}
    return Wanted(
        split_of=split_of,
        split=given["split"],
        names=given["names"],
        batch=given["batch"],
        statuses=tuple(map(Status, given["status"])) or statuses or WHOLE,
        **times,
    )


def _time(flag: str, text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UserError(f"--{flag} {text!r:.40}: write a day or a time as 2026-11-27 or 2026-11-27T14:30") from None


def _put(given: Mapping[str, Any], lines: Iterator[dict[str, Any]], left: Counter[str]) -> None:
    """Write the lines, and tell what is left out. Raises UserError, and writes nothing, if there is no line."""
    from orchestrator.cli.streams import counted, note, say_json
    from orchestrator.learning.files import write

    first = next(lines, None)
    if first is not None:
        if given["out"] is not None:
            number = write(given["out"], chain([first], lines))
        else:
            number = 0
            for line in chain([first], lines):
                say_json(line)
                number += 1
    for why, runs in left.most_common() if not given["quiet"] else ():
        note(f"{counted(runs, 'run')} left out: {why}")
    if first is None:
        found = left.most_common(1)
        raise UserError(f"nothing to export: {f'of most runs, {found[0][0]}' if found else 'the journal holds no run'}")
    if not given["quiet"]:
        note(counted(number, "line") + (f" in {given['out']}" if given["out"] else ""))
