"""`orchestrator handbook`: behaviors that were learned, looked at, changed, taken back and carried elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.handbook_file import counted, handbook_flags, reading, writing
from orchestrator.cli.handbook_learn import curate, learn
from orchestrator.cli.handbook_refused import admit, refused
from orchestrator.errors import StoreError, UserError

if TYPE_CHECKING:
    from orchestrator.behaviors import Behavior
    from orchestrator.engines.embedding import EmbeddingSpec
    from orchestrator.handbook.effect import Effect
    from orchestrator.memory.changes import Change
    from orchestrator.runtime.meaning import Ranked
    from orchestrator.runtime.tracking import Tally

__all__ = ["handbook"]

_FORMATS = ("jsonl", "bullets")
_TOLD = 10
"""Lines about what an import leaves out."""
_MOST = 1 << 20
"""Behaviors that are asked for at once."""
_DIGITS = 18
"""Of the largest number that SQLite can be asked for."""

format_flag = click.option(
    "--format", "form", type=click.Choice(_FORMATS), default="jsonl", show_default=True, help="How it is written."
)


@click.group(epilog="Example: orchestrator handbook list")
def handbook() -> None:
    """See, change and learn behaviors: short instructions that runs recall.

    A handbook lies in the journal's file, or in one of its own; a file may hold several.
    """


@handbook.command("list", epilog="Example: orchestrator handbook list --section sums")
@click.option("--section", help="Only of this topic.")
@click.option("--retired", is_flag=True, help="Those that are recalled no more as well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per behavior.")
@handbook_flags
def list_behaviors(section: str | None, retired: bool, as_json: bool, **given: Any) -> None:
    """List the behaviors: in how many runs each was shown and cited, and how often it helped or harmed.

    The journal says what was shown and cited; where there is none, `-` is said.
    """
    from orchestrator.cli.streams import say
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


@handbook.command("search", epilog='Example: orchestrator handbook search "What is 17 + 25?"')
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
    _note(f"{counted(min(len(found), number), 'behavior')} by {by}")


async def _found(question: str, number: int, given: Mapping[str, Any]) -> Ranked:
    from orchestrator.runtime.meaning import ranked

    with reading(given) as book:
        if (spec := _embedding(given)) is None:
            return await ranked(book, question, number, None)
    embedding = spec.made()
    try:
        with writing(given) as book:
            return await ranked(book, question, number, embedding)
    finally:
        await embedding.close()


@handbook.command("embed", epilog="Example: orchestrator handbook embed")
@handbook_flags
def embed(**given: Any) -> None:
    """Embed every behavior that is not embedded yet, so that all are found by meaning.

    It goes on where it was stopped. Runs and searches embed a few of them by themselves.
    """
    from orchestrator.cli.interrupt import run_until_done

    run_until_done(_embed(given))


async def _embed(given: Mapping[str, Any]) -> None:
    from orchestrator.runtime.meaning import embed

    if (spec := _embedding(given)) is None:
        raise UserError('no embedding is configured: write a table [embedding] with a url, or with path = "minilm"')
    embedding = spec.made()
    try:
        with reading(given):
            pass  # refuses a file that is not there, which writing would make
        with writing(given) as book:
            while left := await embed(book, embedding):
                _note(f"{counted(left, 'behavior')} left")
            _note(f"all behaviors are embedded by {await embedding.space()}")
    finally:
        await embedding.close()


@handbook.command("show", epilog="Example: orchestrator handbook show behavior_check_sums")
@click.argument("behavior", metavar="ID|NAME")
@handbook_flags
def show(behavior: str, **given: Any) -> None:
    """Show one behavior: where it comes from, every change of it, how often it was shown, and what that does.

    That is measured where a share of the runs is shown nothing (`withheld` of the table [recall]), or each behavior is
    left out of a share of them (`left_out`): their answers and tokens against those of runs that were shown it.
    """
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import say
    from orchestrator.handbook.effect import effect_of, own_effect_of
    from orchestrator.runtime.tracking import Tally, tallies, trials

    with reading(given) as book:
        found = book.behavior(_named(behavior))
        changes = book.changes(of=found.id)
    state = (
        "active"
        if found.is_active
        else f"retired, {found.merged_into} took its place"
        if found.merged_into
        else "retired"
    )
    say(f"{found.id}  {found.name}  {state}")
    say(f"   {'avoid: ' if found.polarity == 'do_not' else ''}{found.instruction}")
    source = f"run {found.run}" if found.run else "somebody's own"
    say(f"   section {found.section or '-'}, from {source}")
    effects = f"{found.helpful} helpful, {found.harmful} harmful, {found.neutral} neutral"
    say(f"   used in {counted(found.uses, 'run')}: {effects}")
    for change in changes:
        say(_told(change))
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


@handbook.command("log", epilog="Example: orchestrator handbook log")
@handbook_flags
def log(**given: Any) -> None:
    """Show every change, and the snapshots; x marks what was taken back."""
    from orchestrator.cli.streams import say

    with reading(given) as book:
        named = {each.seq: each.name for each in book.snapshots()}
        for change in book.changes():
            say(_told(change) + (f"  [{named[change.seq]}]" if change.seq in named else ""))


@handbook.command("add", epilog='Example: orchestrator handbook add behavior_check_sums "Add again from the right."')
@click.argument("behavior", metavar="NAME")
@click.argument("instruction")
@click.option("--section", default="", help="The topic it is for.")
@click.option("--avoid", is_flag=True, help="It says what not to do.")
@handbook_flags
def add(behavior: str, instruction: str, section: str, avoid: bool, **given: Any) -> None:
    """Add a behavior of your own."""
    from orchestrator.behaviors import Add

    with writing(given, makes=True) as book:
        (change,) = book.apply([Add(behavior, instruction, section, "do_not" if avoid else "do")], reason="by hand")
    _note(f"behavior {change.after[0].id} added")


@handbook.command("retire", epilog="Example: orchestrator handbook retire behavior_check_sums")
@click.argument("behavior", metavar="ID|NAME")
@handbook_flags
def retire(behavior: str, **given: Any) -> None:
    """Let a behavior be recalled no more; it stays for the record."""
    from orchestrator.behaviors import Retire

    with writing(given) as book:
        found = book.behavior(_named(behavior))
        book.apply([Retire(found.id)], reason="by hand")
    _note(f"behavior {found.id} ({found.name}) is retired")


@handbook.command("snapshot", epilog="Example: orchestrator handbook snapshot before-friday")
@click.argument("label", metavar="NAME")
@handbook_flags
def snapshot(label: str, **given: Any) -> None:
    """Give how the handbook is now a name to go back to."""
    with writing(given) as book:
        made = book.snapshot(label)
    _note(f"snapshot {made.name} is change {made.seq}")


@handbook.command("rollback", epilog="Example: orchestrator handbook rollback before-friday")
@click.argument("to", metavar="SNAPSHOT|CHANGE")
@handbook_flags
def rollback(to: str, **given: Any) -> None:
    """Bring every behavior to how it was at a snapshot, or behind a change; forward is a way, too."""
    with writing(given) as book:
        touched = book.rollback(_named(to))
        head = book.head
    _note(f"at change {head}: {counted(touched, 'row')} written")


@handbook.command("export", epilog="Example: orchestrator handbook export --out handbook.jsonl")
@format_flag
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Stdout unless given.")
@handbook_flags
def export(form: str, out: Path | None, **given: Any) -> None:
    """Write the active behaviors: JSONL holds everything, bullets are what ACE's playbooks are made of."""
    from orchestrator.cli.streams import printing, writing
    from orchestrator.handbook import bullets, exchange

    with reading(given) as book:
        found = book.behaviors()
    text = bullets.written(found) if form == "bullets" else "".join(f"{exchange.line(each)}\n" for each in found)
    if out is None:
        with printing():
            sys.stdout.write(text)
    else:
        if out.exists() and out.samefile(book.file):
            raise UserError(f"{out} is the handbook itself: choose another file with --out")
        with writing(str(out)):
            out.write_text(text, encoding="utf-8")


@handbook.command("import", epilog="Example: orchestrator handbook import handbook.jsonl")
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE")
@format_flag
@handbook_flags
def import_behaviors(source: Path, form: str, **given: Any) -> None:
    """Add the behaviors of a file, all of them or none.

    One whose name is there already is left out, one that is retired in the file, and one that reads like an order to
    an engine: `handbook add` takes that by hand.
    """
    from orchestrator.handbook.exchange import read
    from orchestrator.visible import first_words

    found = read(_text(source), form)
    with writing(given, makes=True) as book:
        known = {each.name for each in book.behaviors()}
        new = [each for each in found.adds if each.name not in known]
        book.apply(new, reason=f"imported from {first_words(source.name, 80)}")
    for told in found.orders[:_TOLD]:
        _note(f"left out: {told}")
    counts = [f"{len(new)} added", f"{len(found.adds) - len(new)} were there already"]
    counts += [f"{found.retired} retired left out"] if found.retired else []
    counts += [f"{len(found.orders)} like orders left out"] if found.orders else []
    _note(", ".join(counts))
    if new and _embedding(given) is not None:
        _note("`orchestrator handbook embed` has all of them found by meaning, too")


for command in (learn, curate, refused, admit):
    handbook.add_command(command)


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
    from orchestrator.cli.streams import say
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


def _named(text: str) -> int | str:
    """Return a number as one: of a behavior or a change; anything else is a name, a number that none can have, too."""
    from orchestrator.visible import visible

    return int(text) if text.isdecimal() and len(text) <= _DIGITS else visible(text)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}: name a file that `handbook export` wrote") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text in UTF-8: name a file that `handbook export` wrote") from error


def _note(text: str) -> None:
    from orchestrator.cli.streams import note

    note(text)


def _embedding(given: Mapping[str, Any]) -> EmbeddingSpec | None:
    from orchestrator.config import load

    return load(given["config"]).embedding
