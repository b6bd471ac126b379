"""`orchestrator handbook refused` and `admit`: what the gates turned away, and the way in that a person can give."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.handbook_file import handbook_flags, reading, writing
from orchestrator.cli.streams import counted, note, say, say_json
from orchestrator.errors import UnknownName

if TYPE_CHECKING:
    from orchestrator.memory.refusals import Refusal

__all__ = ["admit", "refused"]

_WORDS = 160
"""Characters of an instruction and of a reason that are shown on their lines."""


@click.command("refused", epilog="Example: orchestrator handbook refused --clear")
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="[N]...")
@click.option("--clear", is_flag=True, help="Forget them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each.")
@handbook_flags
def refused(numbers: tuple[int, ...], clear: bool, as_json: bool, **given: Any) -> None:
    """List what was proposed and not let in: why, by which gate, from which run and when; the newest first.

    With numbers, only those. Nothing of it is ever shown to an engine. `handbook admit N` lets one in.
    """
    with (writing if clear else reading)(given) as book:
        found = [each for each in book.refused() if not numbers or each.number in numbers]
        if missing := {*numbers} - {each.number for each in found}:
            raise _unknown(min(missing))
        for each in found:
            if as_json:
                say_json(each._asdict())
            else:
                _say(each)
        if clear:
            note(f"{counted(book.forget_refused([each.number for each in found]), 'refusal')} forgotten")


@click.command("admit", epilog="Example: orchestrator handbook admit 3")
@click.argument("number", type=click.IntRange(1), metavar="N")
@handbook_flags
def admit(number: int, **given: Any) -> None:
    """Let in what was refused, by its number in `handbook refused`.

    Whether it gives orders, holds an answer or says what is said already is for you to judge; it still has to be a
    behavior: a name, one line, not too long.
    """
    from orchestrator.handbook.gates import Source, formed
    from orchestrator.handbook.proposals import Proposal

    with writing(given) as book:
        found = next((each for each in book.refused() if each.number == number), None)
        if found is None:
            raise _unknown(number)
        proposal = Proposal(found.name, found.instruction, found.section, found.polarity)
        add = formed(proposal, Source(run=found.run, task=found.task))
        change = book.admit(number, add, reason=f"let in by hand, refused before ({found.gate})")
    note(f"behavior {change.after[0].id} added")


def _unknown(number: int) -> UnknownName:
    return UnknownName(f"nothing refused has the number {number}: `handbook refused` lists what has")


def _say(refusal: Refusal) -> None:
    from orchestrator.visible import first_words

    when = f"{datetime.fromtimestamp(refusal.at_s):%Y-%m-%d %H:%M}"
    say(f"{refusal.number:>5}  {when}  {refusal.gate:<7} run {refusal.run or '-'}")
    say(f"       {first_words(refusal.name, _WORDS)}: {first_words(refusal.instruction, _WORDS)}")
    say(f"       {first_words(refusal.reason, _WORDS)}")
