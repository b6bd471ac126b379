"""Runs as JSON lines: read as typed records, from a file or a journal, and put into a journal again.

    for run in read("runs.jsonl"):
        print(run.id, run.outcome and run.outcome.answer)

What was exported, imported and exported again is the same, line by line. A run is equal to what it was but for what an
export leaves out (see record.py) and the prompt tokens that a call was expected to have, where the engine counted them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from orchestrator.errors import RunTaken, StoreCorrupt, UserError
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.runtime.fork import ancestors
from orchestrator.traces.checks import unshowable, wrong_with
from orchestrator.traces.record import RunRecord, recorded
from orchestrator.traces.redact import Redactor
from orchestrator.traces.restored import stored_of
from orchestrator.visible import first_words

__all__ = ["Imported", "check_runs", "import_runs", "read", "readable", "records"]

_MAX_LINE_BYTES = 64 << 20
_SQLITE = b"SQLite format 3\0"
_MAX_PLACE = 60
_BOM = b"\xef\xbb\xbf"
_NEWER = {
    "literal_error": "is not 1, which is all that this version of the program knows",
    "extra_forbidden": "is unknown to this version of the program",
}
"""By the kind of pydantic's error, what a newer program's export is told by."""


class Imported(NamedTuple):
    """What an import did."""

    added: int
    present: list[str]
    """Ids that the journal holds already, with the same content."""
    different: list[str]
    """Ids that it holds with another content, which stays as it is."""


def read(path: str | PathLike[str]) -> Iterator[RunRecord]:
    """Yield the runs of an export, line by line, or of a journal, oldest first; memory holds one.

    Secrets are hidden, as in every export. Raises UserError, naming the line, for what is no run of an export.
    """
    try:
        with Path(path).open("rb") as file:
            is_journal = file.read(len(_SQLITE)) == _SQLITE
            file.seek(0)
            if not is_journal:
                hide = Redactor()
                number = 0
                while line := file.readline(_MAX_LINE_BYTES + 1):
                    number += 1
                    line = line.removeprefix(_BOM) if number == 1 else line
                    if line.strip():
                        yield _record(line, f"{path}:{number}", hide)
                return
    except OSError as error:
        why = error.strerror or "it is a pipe, and read twice: write it into a file first"
        raise UserError(f"{path} cannot be read: {why}") from error
    with Store(path, readonly=True) as store:
        yield from records(Journal(store))


def readable(
    journal: Journal, left_out: Callable[[str, StoreCorrupt], None], hide: Redactor | None = None
) -> Iterator[RunRecord]:
    """Yield all runs that can be read, oldest first; `left_out` gets the id of each that is damaged, and how."""
    hide = hide or Redactor()
    for run_id in journal.ids():
        try:
            if (stored := journal.stored(run_id)) is None:  # pruned meanwhile
                continue
            run = recorded(stored, ancestors(journal, stored), hide)
        except StoreCorrupt as error:
            left_out(run_id, error)
        else:
            yield run


def records(journal: Journal, names: Iterable[str] | None = None, hide: Redactor | None = None) -> Iterator[RunRecord]:
    """Yield the runs called `names`, each once, by default all, oldest first; each is read when it is asked for."""
    hide = hide or Redactor()
    runs = map(journal.run, names) if names is not None else (journal.at(each.key) for each in journal.each_run())
    told: set[str] = set()
    for stored in runs:
        if stored.run.id not in told:
            told.add(stored.run.id)
            yield recorded(stored, ancestors(journal, stored), hide)


def import_runs(journal: Journal, path: str | PathLike[str]) -> Imported:
    """Put the runs of an export into `journal`; what it holds already stays as it is.

    Nothing is imported unless every line can be. Raises UserError, naming the line, also for a fork whose parent is
    neither in the journal nor before it in the file.
    """
    check_runs(path, lambda run_id: journal.stored(run_id) is not None)
    imported = Imported(0, [], [])
    for run in read(path):
        try:
            journal.add(stored_of(run))
            imported = imported._replace(added=imported.added + 1)
        except RunTaken:
            (held,) = records(journal, [run.id])
            (imported.present if held == run else imported.different).append(run.id)
    return imported


def check_runs(path: str | PathLike[str], is_held: Callable[[str], bool]) -> None:
    """Raise UserError where `import_runs` would, with a journal that holds the runs that `is_held` says."""
    before: set[str] = set()
    for run in read(path):
        if run.parent is not None and run.parent not in before and not is_held(run.parent):
            raise UserError(
                f"{path}: run {run.id} is a fork of {run.parent}, which is neither before it nor in the journal: "
                "export that one, too"
            )
        if wrong := unshowable(run):
            raise UserError(f"{path}: run {run.id} could not be shown: {wrong}")
        before.add(run.id)


def _record(line: bytes, where: str, hide: Redactor) -> RunRecord:
    if len(line) > _MAX_LINE_BYTES:
        raise UserError(f"{where}: the line is longer than {_MAX_LINE_BYTES >> 20} MiB")
    try:
        run = RunRecord.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = first_words(".".join(str(each) for each in first["loc"]), _MAX_PLACE)
        if newer := _NEWER.get(first["type"]):
            raise UserError(f"{where}: {place} {newer}: upgrade it, if this is the right file") from None
        raise UserError(
            f"{where}: no run of `trace export`: {place + ': ' if place else ''}{first['msg']}; is this the right file?"
        ) from None
    if wrong := wrong_with(run):
        raise UserError(f"{where}: no run of `trace export`: {wrong}")
    return _hidden(run, hide)


def _hidden(run: RunRecord, hide: Redactor) -> RunRecord:
    """Return `run` without secrets, the same object where it has none."""
    plain = run.model_dump()
    ids = [call.pop("ids") for call in plain["calls"]]
    hidden = hide.data(plain)
    for call, before, own in zip(hidden["calls"], run.calls, ids, strict=True):
        is_whole = call["text"] == before.text
        call["ids"] = own if is_whole or own is None else []
        call["logprobs"] = call["logprobs"] if is_whole else None
    found = RunRecord.model_validate(hidden)
    return run if found == run else found
