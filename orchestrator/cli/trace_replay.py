"""`orchestrator trace replay`: decide stored runs again, by another policy or another threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import engine_flags

if TYPE_CHECKING:
    from orchestrator.memory.base import StoredRun
    from orchestrator.runtime.pipeline import Pipeline
    from orchestrator.traces.replay import Replayed

__all__ = ["trace_replay"]


@click.command("replay", epilog="Example: orchestrator trace replay --all --what-if threshold=5..9")
@click.argument("names", metavar="[RUN|last]...", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every run of the journal, oldest first.")
@click.option("--batch", metavar="NAME", help="The runs of the newest batch whose name begins like this.")
@click.option("--router", metavar="NAME[:KEY=VALUE,...]", help="Who decides; each run's own router unless given.")
@click.option("--threshold", type=float, help="The router's threshold; as it was unless given.")
@click.option("--what-if", metavar="OPTION=LOW..HIGH", help="How many decisions flip at each value, one by one.")
@click.option(
    "--steps",
    type=click.IntRange(2, 1000),
    help="Values of --what-if; every whole number between whole ends 2 to 100 apart, else 9, unless given.",
)
@click.option(
    "--engines",
    "is_live",
    is_flag=True,
    help="Let the run's own engines go on from where what is known ends, as a fork.",
)
@engine_flags
@click.option("--json", "as_json", is_flag=True, help="One JSON object per run, or per value of --what-if.")
def trace_replay(names: tuple[str, ...], **given: Any) -> None:
    """Decide stored runs again, by another policy or threshold, without any engine.

    RUN is an id or the beginning of one. What is known ends where a run parts from what is stored: nobody knows what
    would have been written behind that. With --what-if every decision is made by itself, behind what the run had kept
    by then: a one-step counterfactual, whose flips do not add up to a run.

    Runs of `collect --tree` are followed behind where they part, to the answer that the policy would have had.

    --engines takes the engines that a run was made with, its seed, and everything else from --pipeline or the
    configuration: what of that is not as it was then is said, and another mode or other tools are refused.
    """
    from orchestrator.errors import UserError

    if sum([bool(names), given["is_all"], given["batch"] is not None]) != 1:
        raise UserError("name the runs to replay, or give --all or --batch NAME: one of the three")
    if given["what_if"] is not None:
        if given["threshold"] is not None or given["is_live"]:
            raise UserError(
                "--what-if asks a router at several values, and no engine: leave out --threshold, --engines"
            )
        _what_if(names, given)
    elif given["is_live"]:
        from orchestrator.cli.interrupt import run_until_done

        run_until_done(_live(names, given))
    else:
        _replay(names, given)


def _replay(names: tuple[str, ...], given: Mapping[str, Any]) -> None:
    from orchestrator.cli.replay_report import plain
    from orchestrator.cli.replayed_runs import note_left_out, routers, runs_of
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import note, say, say_json
    from orchestrator.errors import UserError
    from orchestrator.traces.many import Together
    from orchestrator.traces.replay_shown import lines, summary
    from orchestrator.traces.tree import followed

    together, router = Together(), routers(given)
    with open_journal(given) as journal:
        for stored in runs_of(journal, names, given):
            try:
                made = followed(journal, stored, router(stored))
            except UserError as error:
                if names:
                    raise
                together.left_out[stored.run.id] = str(error)
                continue
            together.add(stored, made)
            if given["as_json"]:
                say_json(plain(made))
            elif len(names) == 1:
                for line in lines(made):
                    say(line)
            else:
                say(_line(made))
    note_left_out(together.left_out)
    if not together.runs and together.left_out:
        raise UserError("none of these runs can be decided again, for the reasons above: name a router that fits them")
    if len(names) != 1:
        for line in summary(together):
            note(line)


def _line(made: Replayed) -> str:
    from orchestrator.cli.streams import counted, width
    from orchestrator.visible import first_words

    if made.lacks is not None and not made.lacks.now:
        begin = f"{made.run:<16}  cannot tell from step {made.lacks.step} on: "
        return begin + first_words(made.lacks.reason, max(width() - len(begin), 20))
    begin = f"{made.run:<16} {len(made.alike):>4} alike {made.left:>4} left"
    if made.parted is None:
        return f"{begin}  unchanged" + ("" if made.is_known else " as far as it goes")
    told = f"{made.parted.then} -> {made.parted.now}"
    if made.path and made.is_known:
        told = f"{counted(len(made.path), 'turn')} in the tree, answer {made.answer or 'none'}"
    return f"{begin}  step {made.parted.step}: {first_words(told, 33)}"


def _what_if(names: tuple[str, ...], given: Mapping[str, Any]) -> None:
    from dataclasses import asdict

    from orchestrator.cli.replay_report import values_of
    from orchestrator.cli.replayed_runs import note_refused, routable, router, runs_of
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import note, say, say_json
    from orchestrator.errors import UserError
    from orchestrator.traces.replay_shown import caveats, table
    from orchestrator.traces.what_if import one_step

    option, values = values_of(given["what_if"], given["steps"])
    refused: dict[str, int] = {}
    with open_journal(given) as journal:
        asked_with = [{option: value} for value in values]
        runs = routable(runs_of(journal, names, given), asked_with, names, given, refused)
        found = one_step(runs, option, values, journal=journal, router=lambda run, asked: router(run, given, asked))
    if refused and not found[0].runs:
        raise UserError(next(iter(refused)))
    note_refused(refused)
    if given["as_json"]:
        for each in found:
            say_json({"option": option, "kind": "one-step counterfactual", **asdict(each), "flips": each.flips})
        return
    for line in table(option, found):
        say(line)
    for line in caveats(found):
        note(line)


async def _live(names: tuple[str, ...], given: Mapping[str, Any]) -> None:
    from orchestrator.cli.replayed_runs import note_left_out, note_refused, options_of, routable, routers, runs_of
    from orchestrator.cli.source import open_source
    from orchestrator.errors import UserError

    kept = ("config", "pipeline", "small", "large", "db")
    pipeline, _ = await open_source({name: given[name] for name in kept})
    async with pipeline:
        router = routers(given)
        refused: dict[str, int] = {}
        left_out: dict[str, str] = {}
        runs = runs_of(pipeline.journal, names, given)
        for stored in list(routable(runs, [options_of(given)], names, given, refused)):
            try:
                await _go_on(pipeline, stored, router(stored), is_json=given["as_json"])
            except UserError as error:
                if names:
                    raise
                left_out[stored.run.id] = str(error)
        note_refused(refused)
        note_left_out(left_out)


async def _go_on(pipeline: Pipeline, stored: StoredRun, router: Any, *, is_json: bool) -> None:
    from orchestrator.cli.streams import note, say, say_json
    from orchestrator.runtime.fork import inherited
    from orchestrator.traces.going_on import gone_on, is_open, other_settings
    from orchestrator.traces.tree import afollowed

    made = await afollowed(pipeline.journal, stored, router)
    if not is_open(made):
        ends = "does not part" if made.parted is None else f"is known to end with {made.answer or 'no answer'}"
        note(f"run {stored.run.id} {ends}: nothing is run")
        return
    if others := other_settings(pipeline, stored):
        note(f"run {stored.run.id} goes on under other settings than its own: {', '.join(others)}")
    forked = await gone_on(pipeline.but(router=router), stored, made)
    assert forked.outcome is not None
    step = len(inherited(forked))
    told = {"run": stored.run.id, "fork": forked.run.id, "step": step}
    if is_json:
        say_json(told | {"status": forked.outcome.status, "answer": forked.outcome.answer})
    else:
        say(f"{stored.run.id} from step {step}: {forked.outcome.status}, run {forked.run.id}")
