"""`orchestrator handbook`: behaviors that were learned, looked at, changed, taken back and carried elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag, engine_flags
from orchestrator.errors import StoreError, UserError

if TYPE_CHECKING:
    from orchestrator.behaviors import Behavior
    from orchestrator.engines.embedding import EmbeddingSpec
    from orchestrator.handbook.effect import Effect
    from orchestrator.learning.strategist import Learnt
    from orchestrator.memory.handbook import Change, Handbook
    from orchestrator.runtime.meaning import Ranked

__all__ = ["handbook"]

_FORMATS = ("jsonl", "bullets")
_TOLD = 10
"""Lines about what an import leaves out."""
_MOST = 1 << 20
"""Behaviors that are asked for at once."""
_DIGITS = 18
"""Of the largest number that SQLite can be asked for."""

name_flag = click.option(
    "--name", default="default", show_default=True, metavar="NAME", help="Which handbook of the file."
)

format_flag = click.option(
    "--format", "form", type=click.Choice(_FORMATS), default="jsonl", show_default=True, help="How it is written."
)


handbook_flag = click.option(
    "--handbook", "file", metavar="FILE", help="The handbook's file; the config's or the journal's unless given."
)


def _flags(command: Callable[..., Any]) -> Callable[..., Any]:
    return config_flag(db_flag(handbook_flag(name_flag(command))))


@click.group(epilog="Example: orchestrator handbook list")
def handbook() -> None:
    """See, change and learn behaviors: short instructions that runs recall.

    A handbook lies in the journal's file, or in one of its own; a file may hold several.
    """


@handbook.command("list", epilog="Example: orchestrator handbook list --section sums")
@click.option("--section", help="Only of this topic.")
@click.option("--retired", is_flag=True, help="Those that are recalled no more as well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per behavior.")
@_flags
def list_behaviors(section: str | None, retired: bool, as_json: bool, **given: Any) -> None:
    """List the behaviors, and how often those that were used helped or harmed."""
    from orchestrator.cli.streams import say
    from orchestrator.visible import visible

    with _reading(given) as book:
        found = book.behaviors(section=None if section is None else visible(section), retired=retired)
    if not as_json:
        say(f"{'id':>5}  {'helpful':>7} {'harmful':>7}  behavior")
    for each in found:
        _say(each, as_json=as_json)


@handbook.command("search", epilog='Example: orchestrator handbook search "What is 17 + 25?"')
@click.argument("question")
@click.option("-n", "number", type=click.IntRange(1, _MOST), default=10, show_default=True, help="Behaviors to show.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per behavior.")
@_flags
def search(question: str, number: int, as_json: bool, **given: Any) -> None:
    """Show what a question finds, the best first: by words, and by meaning where an embedding is configured."""
    from orchestrator.cli.interrupt import run_until_done

    found, by, _ = run_until_done(_found(question, number, given))
    for each, _ in found[:number]:
        _say(each, as_json=as_json)
    _note(f"{_counted(min(len(found), number), 'behavior')} by {by}")


async def _found(question: str, number: int, given: Mapping[str, Any]) -> Ranked:
    from orchestrator.runtime.meaning import ranked

    with _reading(given) as book:
        if (spec := _embedding(given)) is None:
            return await ranked(book, question, number, None)
    embedding = spec.made()
    try:
        with _writing(given) as book:
            return await ranked(book, question, number, embedding)
    finally:
        await embedding.close()


@handbook.command("embed", epilog="Example: orchestrator handbook embed")
@_flags
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
        with _reading(given):
            pass  # refuses a file that is not there, which writing would make
        with _writing(given) as book:
            while left := await embed(book, embedding):
                _note(f"{_counted(left, 'behavior')} left")
            _note(f"all behaviors are embedded by {await embedding.space()}")
    finally:
        await embedding.close()


@handbook.command("show", epilog="Example: orchestrator handbook show behavior_check_sums")
@click.argument("behavior", metavar="ID|NAME")
@_flags
def show(behavior: str, **given: Any) -> None:
    """Show one behavior: where it comes from, every change of it, and what showing it does.

    That is measured where a share of the runs is shown nothing (`withheld` of the table [recall]): their answers and
    tokens against those of runs that were shown it.
    """
    from orchestrator.cli.stored import open_journal
    from orchestrator.cli.streams import say
    from orchestrator.handbook.effect import effect_of
    from orchestrator.runtime.recalling import trials

    with _reading(given) as book:
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
    say(f"   used in {_counted(found.uses, 'run')}: {effects}")
    for change in changes:
        say(_told(change))
    try:
        with open_journal(given) as journal:
            effect = effect_of(found.id, trials(journal, given["name"]))
    except StoreError as missing:
        say(f"   what showing it does cannot be told: {missing}")
        return
    for line in _effect(effect):
        say(line)


@handbook.command("log", epilog="Example: orchestrator handbook log")
@_flags
def log(**given: Any) -> None:
    """Show every change, and the snapshots; x marks what was taken back."""
    from orchestrator.cli.streams import say

    with _reading(given) as book:
        named = {each.seq: each.name for each in book.snapshots()}
        for change in book.changes():
            say(_told(change) + (f"  [{named[change.seq]}]" if change.seq in named else ""))


@handbook.command("add", epilog='Example: orchestrator handbook add behavior_check_sums "Add again from the right."')
@click.argument("behavior", metavar="NAME")
@click.argument("instruction")
@click.option("--section", default="", help="The topic it is for.")
@click.option("--avoid", is_flag=True, help="It says what not to do.")
@_flags
def add(behavior: str, instruction: str, section: str, avoid: bool, **given: Any) -> None:
    """Add a behavior of your own."""
    from orchestrator.behaviors import Add

    with _writing(given, makes=True) as book:
        (change,) = book.apply([Add(behavior, instruction, section, "do_not" if avoid else "do")], reason="by hand")
    _note(f"behavior {change.after[0].id} added")


@handbook.command("retire", epilog="Example: orchestrator handbook retire behavior_check_sums")
@click.argument("behavior", metavar="ID|NAME")
@_flags
def retire(behavior: str, **given: Any) -> None:
    """Let a behavior be recalled no more; it stays for the record."""
    from orchestrator.behaviors import Retire

    with _writing(given) as book:
        found = book.behavior(_named(behavior))
        book.apply([Retire(found.id)], reason="by hand")
    _note(f"behavior {found.id} ({found.name}) is retired")


@handbook.command("curate", epilog="Example: orchestrator handbook curate --most 500 --dry-run")
@click.option("--most", type=click.IntRange(1), default=1000, show_default=True, help="Behaviors that may be left.")
@click.option("--min-uses", type=click.IntRange(1), default=8, show_default=True, help="Uses before one is judged.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@_flags
def curate(most: int, min_uses: int, dry_run: bool, **given: Any) -> None:
    """Keep the handbook small: retire what harms, merge what says the same, and let go of what is over the limit."""
    from orchestrator.behaviors import Merge
    from orchestrator.cli.streams import say
    from orchestrator.handbook.curating import curated

    with _reading(given) if dry_run else _writing(given) as book:
        found = book.behaviors()
        names = {each.id: each.name for each in found}
        deltas = curated(found, most=most, min_uses=min_uses)
        for delta in deltas:
            if isinstance(delta, Merge):
                say(f"merge {', '.join(names[id] for id in delta.ids)} into {names[delta.into]}")
            else:
                say(f"retire {names[delta.id]}")
        if not dry_run:
            book.apply(deltas, reason="curated")
    _note(f"{_counted(len(deltas), 'change')}{' would be made' if dry_run else ''}")


@handbook.command("snapshot", epilog="Example: orchestrator handbook snapshot before-friday")
@click.argument("label", metavar="NAME")
@_flags
def snapshot(label: str, **given: Any) -> None:
    """Give how the handbook is now a name to go back to."""
    with _writing(given) as book:
        made = book.snapshot(label)
    _note(f"snapshot {made.name} is change {made.seq}")


@handbook.command("rollback", epilog="Example: orchestrator handbook rollback before-friday")
@click.argument("to", metavar="SNAPSHOT|CHANGE")
@_flags
def rollback(to: str, **given: Any) -> None:
    """Bring every behavior to how it was at a snapshot, or behind a change; forward is a way, too."""
    with _writing(given) as book:
        touched = book.rollback(_named(to))
        head = book.head
    _note(f"at change {head}: {_counted(touched, 'row')} written")


@handbook.command("export", epilog="Example: orchestrator handbook export --out handbook.jsonl")
@format_flag
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Stdout unless given.")
@_flags
def export(form: str, out: Path | None, **given: Any) -> None:
    """Write the active behaviors: JSONL holds everything, bullets are what ACE's playbooks are made of."""
    from orchestrator.cli.streams import printing, writing
    from orchestrator.handbook import bullets, exchange

    with _reading(given) as book:
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
@_flags
def import_behaviors(source: Path, form: str, **given: Any) -> None:
    """Add the behaviors of a file, all of them or none.

    One whose name is there already is left out, one that is retired in the file, and one that reads like an order to
    an engine: `handbook add` takes that by hand.
    """
    from orchestrator.handbook.exchange import read
    from orchestrator.visible import first_words

    found = read(_text(source), form)
    with _writing(given, makes=True) as book:
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


@handbook.command("learn", epilog="Example: orchestrator handbook learn --runs 50")
@click.option("--runs", "number", type=click.IntRange(1), default=20, show_default=True, help="Newest runs to look at.")
@engine_flags
@handbook_flag
@name_flag
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
def learn(number: int, quiet: bool, **given: Any) -> None:
    """Learn behaviors from stored runs: the large engine reflects on each and extracts what is worth keeping.

    Only runs whose outcome is known are learned from: by a gold answer, or by `orchestrator reward`. What is
    asked is a run of its own, so the same command asks nothing twice.
    """
    from orchestrator.cli.interrupt import run_until_done

    run_until_done(_learn(number, quiet, given))


async def _learn(number: int, quiet: bool, given: Mapping[str, Any]) -> None:
    from orchestrator.cli.source import open_source
    from orchestrator.learning.strategist import LEARNS, Strategist
    from orchestrator.memory.handbook import Handbook
    from orchestrator.memory.store import Store
    from orchestrator.runtime.recalling import was_right

    pipeline, _ = await open_source({**given, "concurrency": None, "seed": None})
    async with pipeline:
        with Store(given["file"] or pipeline.db) as store:
            strategist = Strategist(pipeline, Handbook(store, given["name"]))
            learnt, unknown = [], 0
            for each in reversed(pipeline.journal.runs(limit=number)):
                stored = pipeline.journal.run(each.id)
                if stored.run.batch.startswith(LEARNS) or stored.outcome is None:
                    continue
                is_right = was_right(stored, pipeline.journal.reward_of(stored.key))
                if is_right is None:
                    unknown += 1
                    continue
                learnt.append(await strategist.learn(stored, is_right=is_right))
                if not quiet:
                    _tell(learnt[-1])
    added = sum(len(each.added) for each in learnt)
    unknown_too = f"; the outcome of {unknown} is not known: reward them" if unknown else ""
    _note(f"{_counted(added, 'behavior')} from {_counted(len(learnt), 'run')}{unknown_too}")


def _tell(learnt: Learnt) -> None:
    if learnt.unusable:
        _note(f"run {learnt.run}: nothing learned: {learnt.unusable}")
    for change in learnt.added:
        _note(f"run {learnt.run}: {change.after[0].name}: {change.after[0].instruction}")
    for refused in learnt.refused:
        _note(f"run {learnt.run}: left out ({refused.gate}): {refused.reason}")


def _say(behavior: Behavior, *, as_json: bool) -> None:
    from orchestrator.cli.streams import say
    from orchestrator.handbook.exchange import line
    from orchestrator.handbook.prompts import line as shown

    if as_json:
        say(line(behavior))
    else:
        mark = "" if behavior.is_active else "x "
        say(f"{behavior.id:>5}  {behavior.helpful:>7} {behavior.harmful:>7}  {mark}{shown(behavior)}")


def _effect(effect: Effect) -> Iterator[str]:
    """Yield what showing a behavior does, if it was shown in some runs and withheld in others."""
    yield f"   of runs whose outcome is known, shown in {effect.shown}, withheld in {effect.withheld}"
    if not effect.shown or not effect.withheld:
        return
    for name, found, unit in (
        ("right answers", effect.right, 100),
        ("output tokens", effect.output_tokens, 1),
        ("prompt tokens", effect.prompt_tokens, 1),
    ):
        value, low, high = (unit * each for each in found)
        yield f"     {name}, shown less withheld: {value:+.1f} [{low:+.1f}, {high:+.1f}]{' points' if unit > 1 else ''}"


def _told(change: Change) -> str:
    names = ", ".join(row.name for row in change.after[:3]) + (", ..." if len(change.after) > 3 else "")
    mark = " " if change.is_current else "x"
    reason = " ".join(change.reason.split())
    return f" {mark} {change.seq:>4}  {change.op:<7} {names}{f': {reason}' if reason else ''}"


def _named(text: str) -> int | str:
    """Return a number as one: of a behavior or a change; anything else is a name, a number that none can have, too."""
    from orchestrator.visible import visible

    return int(text) if text.isdecimal() and len(text) <= _DIGITS else visible(text)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


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


def _path(given: Mapping[str, Any]) -> Path | str:
    """Return the handbook's file: that of --handbook, else of the configuration, else the journal's."""
    from orchestrator.cli.stored import journal_path
    from orchestrator.config import load

    return given["file"] or load(given["config"]).run.handbook or journal_path(given)


@contextmanager
def _reading(given: Mapping[str, Any]) -> Iterator[Handbook]:
    from orchestrator.memory.handbook import Handbook
    from orchestrator.memory.store import Store

    with _naming_its_flag(), Store(_made(_path(given)), readonly=True) as store:
        yield Handbook(store, given["name"])


@contextmanager
def _writing(given: Mapping[str, Any], *, makes: bool = False) -> Iterator[Handbook]:
    """Open the handbook to change it; a file that is not there is made by what puts something in, only."""
    from orchestrator.memory.handbook import Handbook
    from orchestrator.memory.store import Store

    path = _path(given)
    with _naming_its_flag(), Store(path if makes else _made(path)) as store:
        yield Handbook(store, given["name"])


@contextmanager
def _naming_its_flag() -> Iterator[None]:
    """Let what is wrong with a file name the flag that a handbook is chosen with."""
    try:
        yield
    except StoreError as error:
        raise type(error)(str(error).replace("--db", "--handbook")) from error


def _made(path: Path | str) -> Path | str:
    if not Path(path).exists():
        raise UserError(f"no handbook at {path}: `handbook add`, `import` or `learn` makes one")
    return path
