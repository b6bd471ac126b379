"""`orchestrator handbook list`, `search`, `show` and `log`: what is in a handbook, and how it came there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.handbook_file import embedding_of, handbook_flags, named, reading, writing
from orchestrator.cli.streams import counted, note, say
from orchestrator.errors import StoreError

if TYPE_CHECKING:
    from orchestrator.behaviors import Behavior
    from orchestrator.handbook.effect import Effect
    from orchestrator.memory.changes import Change
    from orchestrator.runtime.meaning import Ranked
    from orchestrator.runtime.tracking import Tally

__all__ = ["list_behaviors", "log", "search", "show"]

_MOST = 1 << 20
"""Behaviors that are asked for at once."""


@click.command("list", epilog="Example: orchestrator handbook list --section sums")
@click.option("--section", help="Only of this topic.")
@click.option("--retired", is_flag=True, help="Those that are recalled no more as well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per behavior.")
@handbook_flags
def list_behaviors(section: str | None, retired: bool, as_json: bool, **given: Any) -> None:
    """List the behaviors: in how many runs each was shown and cited, and how often it helped or harmed.

    The journal says what was shown and cited; where there is none, `-` is said.
    """
    from orchestrator.visible import visible

    with reading(given) as book:
        found = book.behaviors(section=None if section is None else visible(section), retired=retired)
    if as_json:
        for each in found:
            _say(each, as_json=True)
        return
    known = _tallies(given)
    say(f"{'id':>5}  {'shown':>5} {'cited':>5} {'helpful':>7} {'harmful':>7}  behavior")
    for each in found:
        shown, cited = ("-", "-") if known is None else _counts(known.get(each.id))
        _say(each, f" {shown:>5} {cited:>5}")


@click.command("search", epilog='Example: orchestrator handbook search "What is 17 + 25?"')
@click.argument("question")
@click.option("-n", "number", type=click.IntRange(1, _MOST), default=10, show_default=True, help="Behaviors to show.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per behavior.")
@handbook_flags
def search(question: str, number: int, as_json: bool, **given: Any) -> None:
    """Show what a question finds, the best first: by words, and by meaning where an embedding is configured."""
    from orchestrator.cli.interrupt import run_until_done

    found, by, _ = run_until_done(_found(question, number, given))
    for each, _ in found[:number]:
        _say(each, as_json=as_json)
    note(f"{counted(min(len(found), number), 'behavior')} by {by}")


async def _found(question: str, number: int, given: Mapping[str, Any]) -> Ranked:
    from orchestrator.runtime.meaning import ranked

    with reading(given) as book:
        if (spec := embedding_of(given)) is None:
            return await ranked(book, question, number, None)
    embedding = spec.made()
    try:
        with writing(given) as book:
            return await ranked(book, question, number, embedding)
    finally:
        await embedding.close()


@click.command("show", epilog="Example: orchestrator handbook show behavior_check_sums")
@click.argument("behavior", metavar="ID|NAME")
@handbook_flags
def show(behavior: str, **given: Any) -> None:
    """Show one behavior: where it comes from, every change of it, how often it was shown, and what that does.

    That is measured where a share of the runs is shown nothing (`withheld` of the table [recall]), or each behavior is
    left out of a share of them (`left_out`): their answers and tokens against those of runs that were shown it.
    """
    with reading(given) as book:
        found = book.behavior(named(behavior))
        changes = book.changes(of=found.id)
    say(f"{found.id}  {found.name}  {_state(found)}")
    say(f"   {'avoid: ' if found.polarity == 'do_not' else ''}{found.instruction}")
    source = f"run {found.run}" if found.run else "somebody's own"
    say(f"   section {found.section or '-'}, from {source}")
    effects = f"{found.helpful} helpful, {found.harmful} harmful, {found.neutral} neutral"
    say(f"   used in {counted(found.uses, 'run')}: {effects}")
    for change in changes:
        say(_told(change))
    _say_what_it_does(found, given)


def _state(behavior: Behavior) -> str:
    if behavior.is_active:
        return "active"
    return f"retired, {behavior.merged_into} took its place" if behavior.merged_into else "retired"


def _say_what_it_does(found: Behavior, given: Mapping[str, Any]) -> None:
    """Say how often a behavior was shown, and what its runs came to beside those that were not shown it."""
    from orchestrator.cli.stored import open_journal
    from orchestrator.handbook.effect import effect_of, own_effect_of
    from orchestrator.runtime.tracking import Tally, tallies, trials

    try:
        with open_journal(given) as journal:
            tally = tallies(journal, given["name"]).get(found.id, Tally())
            told = [*trials(journal, given["name"])]
    except StoreError as missing:
        say(f"   what showing it does cannot be told: {missing}")
        return
    say(f"   shown in {counted(tally.shown, 'run')}, cited in {tally.cited}; recalled and not shown in {tally.held}")
    measured = ((own_effect_of(found.id, told), "left out"), (effect_of(found.id, told), "withheld with all others"))
    for effect, how in measured:
        for line in _effect(effect, how) if effect.withheld else ():
            say(line)
    if not any(effect.withheld for effect, _ in measured):
        say("   what showing it does cannot be told: it was never withheld (left_out, withheld of the table [recall])")


@click.command("log", epilog="Example: orchestrator handbook log")
@handbook_flags
def log(**given: Any) -> None:
    """Show every change, and the snapshots; x marks what was taken back."""
    with reading(given) as book:
        names = {each.seq: each.name for each in book.snapshots()}
        for change in book.changes():
            say(_told(change) + (f"  [{names[change.seq]}]" if change.seq in names else ""))


def _tallies(given: Mapping[str, Any]) -> dict[int, Tally] | None:
    """Return what the journal knows of the handbook's behaviors; None where there is no journal."""
    from orchestrator.cli.stored import open_journal
    from orchestrator.runtime.tracking import tallies

    try:
        with open_journal(given) as journal:
            return tallies(journal, given["name"])
    except StoreError:
        return None


def _counts(tally: Tally | None) -> tuple[int, int]:
    return (0, 0) if tally is None else (tally.shown, tally.cited)


def _say(behavior: Behavior, counts: str = "", *, as_json: bool = False) -> None:
    from orchestrator.handbook.exchange import line
    from orchestrator.handbook.prompts import line as shown

    if as_json:
        say(line(behavior))
    else:
        mark = "" if behavior.is_active else "x "
        say(f"{behavior.id:>5} {counts} {behavior.helpful:>7} {behavior.harmful:>7}  {mark}{shown(behavior)}")


def _effect(effect: Effect, how: str) -> Iterator[str]:
    """Yield what showing a behavior does; `how` says how it was not shown in the other runs."""
    yield f"   of runs whose outcome is known, shown in {effect.shown}, {how} in {effect.withheld}"
    for name, found, unit in (
        ("right answers", effect.right, 100),
        ("output tokens", effect.output_tokens, 1),
        ("prompt tokens", effect.prompt_tokens, 1),
    ):
        value, low, high = (unit * each for each in found)
        yield f"     {name}, shown less not: {value:+.1f} [{low:+.1f}, {high:+.1f}]{' points' if unit > 1 else ''}"


def _told(change: Change) -> str:
    names = ", ".join(row.name for row in change.after[:3]) + (", ..." if len(change.after) > 3 else "")
    mark = " " if change.is_current else "x"
    reason = " ".join(change.reason.split())
    return f" {mark} {change.seq:>4}  {change.op:<7} {names}{f': {reason}' if reason else ''}"
