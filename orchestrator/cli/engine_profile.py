"""`orchestrator engines profile`: how many tokens to draft at which batch size, measured on the engine's own server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag
from orchestrator.errors import BadTask, UserError

if TYPE_CHECKING:
    from orchestrator.config import RunConfig
    from orchestrator.engines.measuring import Load
    from orchestrator.engines.speculation.profiles import Profile
    from orchestrator.types import Message

__all__ = ["profile"]

LAST_WORDS = "ended at once: nothing was written, and the server ends by itself"


@click.command(epilog="Example: orchestrator engines profile large --prompts tasks.jsonl --out speculation.toml")
@click.argument("name", metavar="NAME")
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    metavar="FILE.jsonl",
    help="Your own: one JSON object with `prompt` or `messages` per line.",
)
@click.option("--batches", default="1,2,4,8,16,32,64", show_default=True, metavar="N,...", help="Rows side by side.")
@click.option("--tokens", metavar="N,...", help="Most tokens of a draft; 0, half and all of the config's unless given.")
@click.option("--repeats", type=int, default=3, show_default=True, help="Trials of each number at each batch size.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Of one trial.")
@click.option("--max-tokens", type=int, default=128, show_default=True, help="Of one completion.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="The TOML alone, in a new file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@config_flag
def profile(name: str, **given: Any) -> int:
    """Measure what speculation gains on an engine's server, and write the schedule.

    The engine's server is started as `engines up` would, and ended again: without speculation, once for each number
    of tokens, and without speculation again. Batches of greedy completions are timed on it. What comes out is the
    table that was measured, the time of a step fitted to it, and a table `speculation` for orchestrator.toml: drafts
    as long as pays at each batch size, or none. More tokens are only chosen where they were better in every trial.
    """
    from orchestrator.cli.interrupt import Interrupted, run_until_done
    from orchestrator.cli.profile_report import fitted, remarks, report, table, toml
    from orchestrator.cli.source import loaded_config
    from orchestrator.cli.streams import note, say, say_json
    from orchestrator.config import engines_folder
    from orchestrator.engines.measuring import measure
    from orchestrator.engines.speculation.planning import advise, variants
    from orchestrator.engines.speculation.profiling import points_of

    loaded = loaded_config(given)
    speculation = _speculation(loaded, name)
    load = _load(given)
    if given["out"] is not None:
        _check_out(given["out"])
    wanted = variants(speculation, _numbers("--tokens", given["tokens"]), max(load.batches))
    if given["prompts"] is None:
        note("no --prompts: 64 neutral ones; how much is accepted depends on the text, so give your own")
    try:
        measuring = measure(name, loaded.engines[name], wanted, load, engines_folder(), note)
        trials = run_until_done(measuring, LAST_WORDS)
    except Interrupted as interrupted:
        note("interrupted: nothing was written")
        return interrupted.exit_code
    points = points_of(trials)
    advice = advise(speculation, points)
    paste = toml(loaded, name, advice)
    if as_json := given["as_json"]:
        say_json(report(name, speculation, points, advice, paste))
    else:
        say("\n".join([*table(points, advice), "", *fitted(advice)]))
    for remark in remarks(speculation, trials, points, advice, len(load.prompts)):
        note(remark)
    if given["out"] is not None:
        _write(given["out"], paste)
    elif not as_json:
        say(f"\n{paste}")
    return 0


def _speculation(loaded: RunConfig, name: str) -> Profile:
    from orchestrator.cli.streams import note
    from orchestrator.config import engines_folder
    from orchestrator.engines.spec import POOLING
    from orchestrator.engines.supervisor import supervisors

    spec = loaded.engines.get(name)
    if spec is not None and spec.kind == POOLING:
        raise UserError(f"engine {name!r} is of kind pooling, which writes nothing: there is nothing to draft")
    supervisors(loaded.engines, [name], engines_folder(), note)  # raises what else is wrong with the name
    serving = loaded.engines[name].serving
    if serving is None or serving.speculation is None:
        raise UserError(
            f"engine {name!r} does not speculate: say in [engines.{name}.serve.speculation] what is to be measured"
        )
    return serving.speculation


def _load(given: Mapping[str, Any]) -> Load:
    from orchestrator.engines.measuring import Load
    from orchestrator.engines.topics import prompts

    return Load(
        prompts=prompts() if given["prompts"] is None else _prompts(given["prompts"]),
        batches=_numbers("--batches", given["batches"]),
        repeats=given["repeats"],
        seconds=given["seconds"],
        max_tokens=given["max_tokens"],
    )


def _prompts(file: Path) -> list[tuple[Message, ...]]:
    from orchestrator.runtime.tasks import read_tasks

    found = []
    for line in read_tasks(file):
        if line.task is None:
            raise BadTask(f"{file}:{line.number}: {line.error}")
        found.append(line.task.messages)
    return found


def _numbers(flag: str, text: str | None) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",")] if text is not None else []
    except ValueError:
        numbers = [-1]
    if any(number < 0 for number in numbers):
        raise UserError(f"{flag} {text!r}: write whole numbers with commas, like 1,4,16")
    return sorted(set(numbers))


def _check_out(out: Path) -> None:
    """Raise UserError now for what would be found out only after everything was measured."""
    if out.exists():
        raise UserError(f"{out} exists and was left as it is")
    if not out.parent.is_dir():
        raise UserError(f"{out} cannot be written: its folder does not exist")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise UserError(f"{out} cannot be written: its folder takes no new files")


def _write(file: Path, paste: str) -> None:
    from orchestrator.cli.streams import note

    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(f"{paste}\n")
    except OSError as error:
        note(paste)
        raise UserError(f"{file} cannot be written: {error.strerror}; what was to be in it stands above") from error
    note(f"wrote {file}")
