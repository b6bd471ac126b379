"""`orchestrator engines profile`: how many tokens to draft at which batch size, measured on the engine's own server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag
from orchestrator.errors import BadTask, UserError

if TYPE_CHECKING:
    from orchestrator.config import RunConfig
    from orchestrator.engines.speculation.planning import Advice
    from orchestrator.engines.speculation.profiles import Profile
    from orchestrator.engines.speculation.profiling import Point, Trial
    from orchestrator.types import Message

__all__ = ["profile"]

DRIFTED = 0.1
"""Share of its goodput by which the same server may differ at the end."""
WAITED = 0.1
"""Share of its time in the server's queue from which a completion was not really one of a batch."""
REMEMBER = ("suffix", "custom_class")
"""Methods whose drafts come from earlier texts too."""


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
    from orchestrator.cli.engines import folder
    from orchestrator.cli.interrupt import Interrupted, run_until_done
    from orchestrator.cli.source import loaded_config
    from orchestrator.cli.streams import note, say, say_json
    from orchestrator.engines.measuring import measure
    from orchestrator.engines.speculation.planning import advise, variants
    from orchestrator.engines.speculation.profiling import points_of
    from orchestrator.engines.supervisor import supervisors

    loaded = loaded_config(given)
    supervisors(loaded.engines, [name], folder(), note)  # raises what is wrong with the name
    spec, speculation = loaded.engines[name], _speculation(loaded, name)
    load = _load(given)
    if given["out"] is not None and given["out"].exists():
        raise UserError(f"{given['out']} exists and was left as it is")
    wanted = variants(speculation, _numbers("--tokens", given["tokens"]), max(load.batches))
    if given["prompts"] is None:
        note("no --prompts: 64 neutral ones; how much is accepted depends on the text, so give your own")
    try:
        trials = run_until_done(measure(name, spec, wanted, load, folder(), note))
    except Interrupted as interrupted:
        note("interrupted: nothing was written")
        return interrupted.exit_code
    points = points_of(trials)
    advice = advise(speculation, points)
    toml = _toml(loaded, name, advice)
    if as_json := given["as_json"]:
        say_json(_report(name, speculation, points, advice, toml))
    else:
        say("\n".join([*_table(points, advice), "", *_fitted(advice)]))
    for remark in _remarks(speculation, trials, points, advice, len(load.prompts)):
        note(remark)
    if given["out"] is not None:
        _write(given["out"], toml)
    elif not as_json:
        say(f"\n{toml}")
    return 0


def _speculation(loaded: RunConfig, name: str) -> Profile:
    serving = loaded.engines[name].serving
    if serving is None or serving.speculation is None:
        raise UserError(
            f"engine {name!r} does not speculate: say in [engines.{name}.serve.speculation] what is to be measured"
        )
    return serving.speculation


def _load(given: Mapping[str, Any]) -> Any:
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


# ---- what is said


def _table(points: Sequence[Point], advice: Advice) -> Iterator[str]:
    heads = f"{'batch':>5} {'tokens':>6}  {'drafted':>7} {'accepted':>8}  {'step ms':>8}"
    yield f"{heads}  {'tokens/s':>24}  {'modelled':>8}"
    for each in sorted(points, key=lambda each: (each.batch, -1 if each.tokens is None else each.tokens)):
        counts = f"{'':>16}"
        modelled = ""
        if each.tokens is not None:
            counts = f"{each.drafted_per_step:>7.2f} {each.tokens_per_step - 1:>8.2f}"
            modelled = f"{advice.model.goodput(each.batch, each.tokens):.1f}"
        span = f"{each.goodput:.1f} [{each.goodputs[0]:.1f}, {each.goodputs[-1]:.1f}]"
        chosen = " *" if advice.plan.get(each.batch, -1) == each.tokens else ""
        tokens = "none" if each.tokens is None else each.tokens
        yield f"{each.batch:>5} {tokens:>6}  {counts}  {each.step_ms:>8.2f}  {span:>24}  {modelled:>8}{chosen}".rstrip()


def _fitted(advice: Advice) -> Iterator[str]:
    step, acceptance = advice.model
    drafting = f" + {step.draft_ms:.3g} ms per token of a row's draft" if step.draft_ms else ""
    yield f"a step takes {step.base_ms:.3g} ms + {step.token_ms:.3g} ms per token it verifies{drafting},"
    yield f"  {step.error:.0%} off on average and {step.worst:.0%} at most"
    yield f"{acceptance.share:.0%} of a row's steps verify a draft; each next token stands with {acceptance.rate:.0%}"


def _remarks(
    speculation: Profile, trials: Sequence[Trial], points: Sequence[Point], advice: Advice, num_prompts: int
) -> Iterator[str]:
    from orchestrator.engines.speculation.planning import drift

    if (change := drift(trials)) > DRIFTED:
        yield f"measured again at the end, no speculation was {change:.0%} off: trust this only on a quiet machine"
    if waiting := sorted({point.batch for point in points if point.waited > WAITED}):
        yield f"completions waited in the server's queue at batch size {_listed(waiting)}: it may take fewer at once"
    servers = len({point.tokens for point in points})
    if speculation.method in REMEMBER and sum(trial.completions for trial in trials) > num_prompts * servers:
        yield f"prompts came again, and {speculation.method} remembers: with too few it looks better than it is"
    if advice.speculation is None:
        yield "no draft of any length is faster than no speculation, beyond the noise"
        return
    plain = {point.batch: point for point in points if point.tokens is None}
    chosen = [point for point in points if advice.plan.get(point.batch, -1) == point.tokens]
    if slower := [point.batch for point in chosen if plain[point.batch].is_better_than(point)]:
        yield f"without speculation the server is faster at batch size {_listed(slower)}"
    if advice.plan:
        yield f"above batch size {max(advice.plan)}, which was not measured, vLLM goes on with the last row"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _settings(loaded: RunConfig, name: str, advice: Advice) -> dict[str, Any]:
    """Return the table `speculation`: the file's own, with what was found out."""
    found = advice.speculation
    if found is None:
        return {"method": "none"}
    written = loaded.as_written["engines"][name]["serve"].get("speculation", {})
    changed = "schedule" if advice.plan else "length"
    return {"method": found.method, **written, "tokens": found.tokens, changed: getattr(found, changed)}


def _toml(loaded: RunConfig, name: str, advice: Advice) -> str:
    from orchestrator.cli.toml import lines

    return "\n".join(lines(_settings(loaded, name, advice), f"engines.{name}.serve.speculation")[1:])


def _report(name: str, speculation: Profile, points: Sequence[Point], advice: Advice, toml: str) -> dict[str, Any]:
    return {
        "engine": name,
        "method": speculation.method,
        "points": [
            {
                "tokens": each.tokens,
                "batch": each.batch,
                "goodputs": list(each.goodputs),
                "drafted_per_step": each.drafted_per_step,
                "tokens_per_step": each.tokens_per_step,
                "step_ms": each.step_ms,
                "modelled": None if each.tokens is None else advice.model.goodput(each.batch, each.tokens),
            }
            for each in points
        ],
        "step": advice.model.step._asdict(),
        "acceptance": advice.model.acceptance._asdict(),
        "plan": {str(batch): tokens for batch, tokens in advice.plan.items()},
        "toml": toml,
    }


def _write(file: Path, toml: str) -> None:
    from orchestrator.cli.streams import note

    try:
        with file.open("x") as opened:
            opened.write(f"{toml}\n")
    except FileExistsError:
        raise UserError(f"{file} exists and was left as it is; what was to be in it:\n{toml}") from None
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from error
    note(f"wrote {file}")
