"""`orchestrator handbook export` and `import`: behaviors carried elsewhere, and brought in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.handbook_file import embedding_of, handbook_flags, reading, writing
from orchestrator.cli.streams import note, printing
from orchestrator.cli.streams import writing as writing_file
from orchestrator.errors import UserError

__all__ = ["export", "import_behaviors"]

_TOLD = 10
"""Lines about what an import leaves out."""

_format_flag = click.option(
    "--format",
    "form",
    type=click.Choice(("jsonl", "bullets")),
    default="jsonl",
    show_default=True,
    help="How it is written.",
)


@click.command("export", epilog="Example: orchestrator handbook export --out handbook.jsonl")
@_format_flag
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Stdout unless given.")
@handbook_flags
def export(form: str, out: Path | None, **given: Any) -> None:
    """Write the active behaviors: JSONL holds everything, bullets are what ACE's playbooks are made of."""
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
        with writing_file(str(out)):
            out.write_text(text, encoding="utf-8")


@click.command("import", epilog="Example: orchestrator handbook import handbook.jsonl")
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE")
@_format_flag
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
        note(f"left out: {told}")
    counts = [f"{len(new)} added", f"{len(found.adds) - len(new)} were there already"]
    counts += [f"{found.retired} retired left out"] if found.retired else []
    counts += [f"{len(found.orders)} like orders left out"] if found.orders else []
    note(", ".join(counts))
    if new and embedding_of(given) is not None:
        note("`orchestrator handbook embed` has all of them found by meaning, too")


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}: name a file that `handbook export` wrote") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text in UTF-8: name a file that `handbook export` wrote") from error
