"""`orchestrator trace export` and `trace import`: runs carried elsewhere, and back."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.source import config_flag, db_flag

if TYPE_CHECKING:
    from orchestrator.errors import StoreCorrupt
    from orchestrator.traces.record import RunRecord

__all__ = ["export", "import_runs"]

FORMATS = ("jsonl", "otel", "inspect", "parquet", "csv")


@click.command(epilog="Example: orchestrator trace export --all --out runs.jsonl")
@click.argument("names", metavar="[RUN|last]...", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every run of the journal, oldest first.")
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), default="jsonl", show_default=True, help="Who is to read it."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new file, or folder for parquet and csv; stdout unless given.",
)
@click.option("--endpoint", metavar="URL", help="Send otel there, such as to http://127.0.0.1:4318.")
@click.option("--content", is_flag=True, help="With the texts of people, engines and tools; jsonl always has them.")
@config_flag
@db_flag
def export(names: tuple[str, ...], is_all: bool, kind: str, out: Path | None, **given: Any) -> int:
    """Export runs for other tools.

    \b
    jsonl    everything, one object per run; `trace import` reads it back, orc.traces.read too
    otel     OpenTelemetry spans: sent to --endpoint, else to $OTEL_EXPORTER_OTLP_ENDPOINT;
             with --out written as OTLP JSON lines
    inspect  a log for Inspect: `inspect view`, read_eval_log
    parquet  tables of runs, steps, calls, decisions and signals in a folder
    csv      likewise

    With --all, runs that are damaged are named and left out, and the exit code is 1.

    Prompts and answers are in jsonl, and in the others with --content. Secrets become [redacted].
    The schema of jsonl is orchestrator.traces.record.RunRecord.
    """
    from orchestrator.cli.stored import open_journal, redactor
    from orchestrator.cli.streams import counted, note
    from orchestrator.errors import UserError
    from orchestrator.traces.jsonl import readable, records

    if is_all == bool(names):
        raise UserError("name the runs to export, or give --all")
    if given["endpoint"] is not None and (kind != "otel" or out is not None):
        raise UserError("--endpoint is where --format otel is sent; leave it away, or --out")
    with open_journal(given) as journal:
        hide = redactor(given)
        damaged: dict[str, StoreCorrupt] = {}
        found = readable(journal, damaged.__setitem__, hide) if is_all else records(journal, names, hide)
        runs = _Counted(found, damaged)
        if kind in ("parquet", "csv"):
            _write_tables(out, runs, kind, content=given["content"])
        elif kind == "otel" and out is None:
            _send(runs, given["endpoint"], content=given["content"])
        else:
            _write(out, _texts(runs, kind, content=given["content"]))
    if out is not None:
        note(f"{counted(runs.number, 'run')} in {out}")
    for run, error in damaged.items():
        note(f"run {run} is damaged and left out: {error.why}")
    return 1 if damaged else 0


class _Counted:
    """Runs on their way out, and how many they were. Raises what is wrong with the first if all are damaged."""

    def __init__(self, runs: Iterable[RunRecord], damaged: Mapping[str, StoreCorrupt]) -> None:
        self.number = 0
        self._runs = runs
        self._damaged = damaged

    def __iter__(self) -> Iterator[RunRecord]:
        for run in self._runs:
            self.number += 1
            yield run
        if self._damaged and not self.number:
            raise next(iter(self._damaged.values()))


def _texts(runs: Iterable[RunRecord], kind: str, *, content: bool) -> Iterator[str]:
    from orchestrator.cli.streams import to_json
    from orchestrator.traces.inspect_log import pieces
    from orchestrator.traces.otel import spans
    from orchestrator.traces.otlp_json import otlp_json

    if kind == "inspect":
        yield from pieces(runs, content=content)
        return
    for run in runs:
        value = run.model_dump(mode="json") if kind == "jsonl" else otlp_json(spans(run, content=content))
        yield to_json(value) + "\n"


def _write(out: Path | None, texts: Iterable[str]) -> None:
    from orchestrator.cli.streams import printing

    if out is None:
        for text in texts:
            with printing():
                click.echo(text, nl=False)
        return
    with _new(out) as part, part.open("w", encoding="ascii") as file:
        file.writelines(texts)


def _write_tables(out: Path | None, runs: Iterable[RunRecord], kind: str, *, content: bool) -> None:
    from orchestrator.errors import UserError
    from orchestrator.traces.tables import write_tables

    if out is None:
        raise UserError(f"{kind} is several tables: give --out FOLDER, a new one")
    with _new(out) as part:
        part.mkdir()
        write_tables(part, runs, kind, content=content)


def _send(runs: Iterable[RunRecord], endpoint: str | None, *, content: bool) -> None:
    from orchestrator.cli.streams import counted, note
    from orchestrator.traces.otlp import send

    number = send(runs, endpoint, content=content)
    note(f"{counted(number, 'run')} sent")


@contextmanager
def _new(out: Path) -> Iterator[Path]:
    """Give the path of what becomes `out` in the end, all of it or nothing. Raises UserError if `out` exists."""
    from orchestrator.errors import UserError

    part = out.parent / f"{out.name}.part"
    try:
        if not out.name or out.exists():  # `.` and `/` have no name
            raise UserError(f"{out} exists: choose another {'folder' if out.is_dir() else 'file'}")
        _remove(part)
        yield part
        if out.exists():  # since
            raise UserError(f"{out} exists: choose another file")
        part.rename(out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)


@click.command("import", epilog="Example: orchestrator trace import runs.jsonl --db other.db")
@click.argument("file", type=click.Path(path_type=Path))
@config_flag
@db_flag
def import_runs(file: Path, **given: Any) -> None:
    """Put the runs of a JSON lines export into a journal, by default your own.

    A run whose id is there already is passed over and said. A file with a line that is no run is refused
    whole. Resuming a batch and `last` take imported runs for the journal's own.
    """
    from orchestrator.cli.stored import journal_path
    from orchestrator.cli.streams import note
    from orchestrator.memory.journal import Journal
    from orchestrator.memory.store import Store
    from orchestrator.traces.jsonl import check_runs
    from orchestrator.traces.jsonl import import_runs as imported

    path = journal_path(given)
    if not Path(path).exists():  # a file that is refused makes no journal
        check_runs(file, lambda run_id: False)
    with Store(path) as store:
        done = imported(Journal(store), file)
    note(f"{done.added} imported")
    if done.present:
        note(f"{len(done.present)} passed over, they are there already: {_listed(done.present)}")
    if done.different:
        note(f"{len(done.different)} passed over, others of these ids are there: {_listed(done.different)}")


def _listed(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
