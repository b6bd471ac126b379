"""`orchestrator handbook`: behaviors that were learned, looked at, changed, taken back and carried elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from orchestrator.cli.handbook_exchange import export, import_behaviors
from orchestrator.cli.handbook_file import embedding_of, handbook_flags, named, reading, writing
from orchestrator.cli.handbook_learn import curate, learn
from orchestrator.cli.handbook_look import list_behaviors, log, search, show
from orchestrator.cli.handbook_refused import admit, refused
from orchestrator.cli.streams import counted, note
from orchestrator.errors import UserError

__all__ = ["handbook"]


@click.group(epilog="Example: orchestrator handbook list")
def handbook() -> None:
    """See, change and learn behaviors: short instructions that runs recall.

    A handbook lies in the journal's file, or in one of its own; a file may hold several.
    """


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

    if (spec := embedding_of(given)) is None:
        raise UserError('no embedding is configured: write a table [embedding] with a url, or with path = "minilm"')
    embedding = spec.made()
    try:
        with reading(given):
            pass  # refuses a file that is not there, which writing would make
        with writing(given) as book:
            while left := await embed(book, embedding):
                note(f"{counted(left, 'behavior')} left")
            note(f"all behaviors are embedded by {await embedding.space()}")
    finally:
        await embedding.close()


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
    note(f"behavior {change.after[0].id} added")


@handbook.command("retire", epilog="Example: orchestrator handbook retire behavior_check_sums")
@click.argument("behavior", metavar="ID|NAME")
@handbook_flags
def retire(behavior: str, **given: Any) -> None:
    """Let a behavior be recalled no more; it stays for the record."""
    from orchestrator.behaviors import Retire

    with writing(given) as book:
        found = book.behavior(named(behavior))
        book.apply([Retire(found.id)], reason="by hand")
    note(f"behavior {found.id} ({found.name}) is retired")


@handbook.command("snapshot", epilog="Example: orchestrator handbook snapshot before-friday")
@click.argument("label", metavar="NAME")
@handbook_flags
def snapshot(label: str, **given: Any) -> None:
    """Give how the handbook is now a name to go back to."""
    with writing(given) as book:
        made = book.snapshot(label)
    note(f"snapshot {made.name} is change {made.seq}")


@handbook.command("rollback", epilog="Example: orchestrator handbook rollback before-friday")
@click.argument("to", metavar="SNAPSHOT|CHANGE")
@handbook_flags
def rollback(to: str, **given: Any) -> None:
    """Bring every behavior to how it was at a snapshot, or behind a change; forward is a way, too."""
    with writing(given) as book:
        touched = book.rollback(named(to))
        head = book.head
    note(f"at change {head}: {counted(touched, 'row')} written")


for command in (list_behaviors, search, show, log, export, import_behaviors, learn, curate, refused, admit):
    handbook.add_command(command)
