"""`orchestrator handbook show` and `log`: what one behavior does, and how a handbook came to be as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.handbook_file import handbook_flags, named, reading
from orchestrator.cli.streams import counted, say, say_json
from orchestrator.errors import StoreError

if TYPE_CHECKING:
    from orchestrator.behaviors import Behavior
    from orchestrator.handbook.effect import Effect, Trial
    from orchestrator.memory.changes import Change
    from orchestrator.memory.handbook import Handbook
    from orchestrator.runtime.tracking import Tally

__all__ = ["log", "show"]


@click.command("show", epilog="Example: orchestrator handbook show behavior_check_sums")
@click.argument("behavior", metavar="ID|NAME")
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON object.")
@handbook_flags
def show(behavior: str, as_json: bool, **given: Any) -> None:
    """Show one behavior: where it comes from, every change of it, how often it was shown, and what that does.

    That is measured where a share of the runs is shown nothing (`withheld` of the table [recall]), or each behavior is
    left out of a share of them (`left_out`): their answers and tokens against those of runs that were shown it. Of a
    name that is retired, its newest behavior is shown.
    """
    with reading(given) as book:
        found = book.behavior(named(behavior), retired=True)
        changes = book.changes(of=found.id)
    if as_json:
        say_json({**asdict(found), "changes": [*map(_plain, changes)], **_measured(found, book, given)})
        return
    say(f"{found.id}  {found.name}  {_state(found)}")
    say(f"   {'avoid: ' if found.polarity == 'do_not' else ''}{found.instruction}")
    source = f"run {found.run}{_gone(found.run, given)}" if found.run else "somebody's own"
    say(f"   section {found.section or '-'}, from {source}")
    effects = f"{found.helpful} helpful, {found.harmful} harmful, {found.neutral} neutral"
    say(f"   used in {counted(found.uses, 'run')}: {effects}")
    for change in changes:
        say(_told(change))
    for line in _effects(found, book, given):
        say(line)


@click.command("log", epilog="Example: orchestrator handbook log")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per change.")
@handbook_flags
def log(as_json: bool, **given: Any) -> None:
    """Show every change, and the snapshots; x marks what was taken back."""
    with reading(given) as book:
        names: dict[int, list[str]] = {}
        for each in book.snapshots():
            names.setdefault(each.seq, []).append(each.name)
        changes = book.changes()
    for change in changes:
        here = names.get(change.seq, [])
        if as_json:
            say_json({**_plain(change), "snapshots": here})
        else:
            say(_told(change) + (f"  [{', '.join(here)}]" if here else ""))


def _state(behavior: Behavior) -> str:
    if behavior.is_active:
        return "active"
    return f"retired, {behavior.merged_into} took its place" if behavior.merged_into else "retired"


def _gone(run: str, given: Mapping[str, Any]) -> str:
    """Return what to say of a run that the journal does not hold; nothing where it does, or there is no journal."""
    from orchestrator.cli.stored import open_journal

    try:
        with open_journal(given) as journal:
            return "" if journal.holds(run) else ", which the journal does not hold (any more)"
    except StoreError:
        return ""


def _runs(found: Behavior, book: Handbook, given: Mapping[str, Any]) -> tuple[Tally, list[Trial]]:
    """Return how often a behavior was shown, and the runs that tell what that did. Raises StoreError where there is no
    journal."""
    from orchestrator.cli.stored import open_journal
    from orchestrator.runtime.tracking import Tally, tallies, trials

    with open_journal(given) as journal:
        return tallies(journal, book).get(found.id, Tally()), [*trials(journal, book)]


def _both_effects(found: Behavior, told: list[Trial]) -> dict[str, Effect]:
    """Return what showing a behavior does, by how it was not shown in the other runs."""
    from orchestrator.handbook.effect import effect_of, own_effect_of

    both = {"left out": own_effect_of(found.id, told), "withheld with all others": effect_of(found.id, told)}
    return {how: effect for how, effect in both.items() if effect.withheld}


def _measured(found: Behavior, book: Handbook, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return as plain data what `_effects` says; a tally of None where there is no journal."""
    try:
        tally, told = _runs(found, book, given)
    except StoreError:
        return {"tally": None, "effects": {}}
    effects = {how.split()[0]: _figures(effect) for how, effect in _both_effects(found, told).items()}
    return {"tally": asdict(tally), "effects": effects}


def _figures(effect: Effect) -> dict[str, Any]:
    return {name: each if isinstance(each, int) else each._asdict() for name, each in effect._asdict().items()}


def _effects(found: Behavior, book: Handbook, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield how often a behavior was shown, and what its runs came to beside those that were not shown it."""
    try:
        tally, told = _runs(found, book, given)
    except StoreError as missing:
        yield f"   what showing it does cannot be told: {missing}"
        return
    yield f"   shown in {counted(tally.shown, 'run')}, cited in {tally.cited}; recalled and not shown in {tally.held}"
    effects = _both_effects(found, told)
    for how, effect in effects.items():
        yield from _effect(effect, how)
    if not effects:
        yield "   what showing it does cannot be told: it was never withheld (left_out, withheld of the table [recall])"


def _effect(effect: Effect, how: str) -> Iterator[str]:
    """Yield what showing a behavior does; `how` says how it was not shown in the other runs."""
    yield f"   of questions whose outcome is known, shown in {effect.shown}, {how} in {effect.withheld}"
    for name, found, unit in (
        ("right answers", effect.right, 100),
        ("output tokens", effect.output_tokens, 1),
        ("prompt tokens", effect.prompt_tokens, 1),
    ):
        value, low, high = (unit * each for each in found)
        yield f"     {name}, shown less not: {value:+.1f} [{low:+.1f}, {high:+.1f}]{' points' if unit > 1 else ''}"


def _plain(change: Change) -> dict[str, Any]:
    rows = {name: [asdict(row) for row in getattr(change, name)] for name in ("before", "after")}
    return {**change._asdict(), **rows}


def _told(change: Change) -> str:
    names = ", ".join(row.name for row in change.after[:3]) + (", ..." if len(change.after) > 3 else "")
    mark = " " if change.is_current else "x"
    reason = " ".join(change.reason.split())
    return f" {mark} {change.seq:>4}  {change.op:<7} {names}{f': {reason}' if reason else ''}"
