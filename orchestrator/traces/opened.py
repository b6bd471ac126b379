"""A journal opened to look at: its runs by name, one after another, and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UnknownName, UserError
from orchestrator.memory.base import LEARNS
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import DEFAULT_NAME, Store
from orchestrator.memory.summaries import ORDERS, Listing
from orchestrator.memory.which import Span, Which
from orchestrator.runtime.displayed import Displayed
from orchestrator.traces.at_a_glance import Columns
from orchestrator.traces.diff import Diff
from orchestrator.traces.frames import frame
from orchestrator.traces.journal_file import journal_file
from orchestrator.traces.jsonl import records
from orchestrator.traces.many import Together
from orchestrator.traces.run import Run
from orchestrator.traces.searching import Found, search
from orchestrator.traces.stats import Stats, stats_of
from orchestrator.traces.what_if import WhatIf, one_step
from orchestrator.types import Status
from orchestrator.visible import visible

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.text import Text

__all__ = ["Listing", "Span", "Traces", "open"]

_NEWEST = 20
_USERS = Which(without=(LEARNS,))
_STATUSES = (*Status, "running", "interrupted")


class Traces(Displayed):
    """The runs of one journal, which is only read, beside whoever writes it; a notebook shows the newest.

        with orc.traces.open("journal.db") as traces:
            traces["last"].show()

    Every look sees what is on disk by then. Threads may share it. Whatever reads raises StoreError where the file
    cannot be read.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._store = Store(path, readonly=True)
        self._journal = Journal(self._store)

    @property
    def path(self) -> Path:
        """The journal's file."""
        return Path(self._store.path)

    def __len__(self) -> int:
        """Return how many runs there are."""
        return self._journal.number_of_runs()

    def __iter__(self) -> Iterator[Run]:
        """Yield every run, newest first; each is read when it is asked for, so memory holds one."""
        for stored in self._journal.newest_first():
            yield Run(self._journal, stored)

    def __getitem__(self, name: str) -> Run:
        """Return a run by its id, the beginning of its id, or `last`.

        Raises UnknownName, listing similar ids, or UserError if several ids begin like that.
        """
        if not isinstance(name, str):
            raise UserError(f"a run is named by its id, the beginning of one, or 'last', not by {name!r:.40}")
        return Run(self._journal, self._journal.run(name))

    def __contains__(self, run_id: object) -> bool:
        """Return whether there is a run with exactly this id."""
        return isinstance(run_id, str) and self._journal.stored(run_id) is not None

    def runs(self, which: Which | None = None, limit: int = _NEWEST, by: str = "started") -> Listing:
        """Return the first `limit` runs that are meant, those with the most of `by` first, and how many there are.

        `by` is `started`, `cost`, `seconds` or `tokens`. By default runs of learners are left out: their
        questions, and the branches of `collect --tree`. Raises UnknownName for another `by`, and for a status, a
        policy, an engine, a batch or a run that there is not.
        """
        if by not in ORDERS:
            raise UnknownName(f"runs go by one of {', '.join(ORDERS)}, not by {by!r:.40}")
        return self._journal.listed(_meant(which), limit, by)

    def stats(self, which: Which | None = None) -> Stats:
        """Return what the runs that are meant come to together; as `runs`."""
        return stats_of(self._journal, _meant(which))

    def search(self, query: str, *, limit: int = _NEWEST) -> Found:
        """Return what of all runs holds every word and "phrase" of `query`; see `orc.traces.search`."""
        return search(self.path, query, limit=limit)

    def frame(self, table: str = "runs", *, content: bool = False) -> DataFrame:
        """Return all runs, oldest first, as a pandas DataFrame, without secrets; see `orc.traces.frame`."""
        return frame(records(self._journal), table, content=content)

    def diff(self, ours: str, theirs: str) -> Diff:
        """Return where two runs part, and what each cost."""
        return self[ours].diff(theirs)

    def replay(self, router: Any = None, **options: Any) -> Together:
        """Return what a policy would have decided in all runs together; as `Run.replay`, which tells about each.

        Runs that cannot be decided again are in `left_out`, and runs of learners in nothing. Raises UserError where
        none can be.
        """
        all_of = Together()
        for run in self._asked():
            try:
                all_of.add(run.stored, run.replay(router, **options))
            except UserError as error:
                all_of.left_out[run.id] = str(error)
        if not all_of.runs and all_of.left_out:
            first = next(iter(all_of.left_out.values()))
            raise UserError(f"none of {len(all_of.left_out):,} runs can be decided again, as of the first: {first}")
        return all_of

    def what_if(self, option: str, values: Sequence[Any]) -> WhatIf:
        """Return how many decisions of all runs flip at each value of an option, each decision by itself.

        Raises UserError for a run whose router cannot be made again, or has no such option.
        """
        return one_step((run.stored for run in self._asked()), option, values, journal=self._journal)

    def _asked(self) -> Iterator[Run]:
        return (run for run in self if not run.stored.run.batch.startswith(LEARNS))

    def drawn(self, width: int) -> Text:
        """Return the newest runs, a line each, and how many there are."""
        from rich.text import Text

        number = len(self)
        newest = self._journal.runs(_NEWEST, without=(LEARNS,))
        columns = Columns(has_cost=any(run.cost for run in newest), width=width)
        head = f"{number:,} run{'' if number == 1 else 's'} in {visible(str(self.path))}"
        lines = [Text(head, "bold"), Text(columns.titles(), "dim")] if newest else [Text(head, "bold")]
        lines += [Text("".join(columns.cells(run))) for run in newest]
        if number > len(newest):
            lines.append(Text(f"… {number - len(newest):,} more", "dim"))
        return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)

    def close(self) -> None:
        """Let go of the file; what was read stays."""
        self._store.close()

    def __enter__(self) -> Traces:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<traces in {visible(str(self.path))}>"


def _meant(which: Which | None) -> Which:
    if which is not None and which.status not in (None, *_STATUSES):
        raise UnknownName(f"no run has the status {which.status!r:.40}; there are {', '.join(_STATUSES)}")
    return which or _USERS


def open(path: str | PathLike[str] | None = None) -> Traces:
    """Open a journal to read it: a file, a folder with a `journal.db`, or the one that the command line finds.

    That is the one of `orchestrator.toml` in the working directory, else your own. Raises StoreError where there is
    none, or it cannot be read, and BadConfig.
    """
    if path is None:
        path = journal_file()
    elif Path(path).is_dir():
        path = Path(path) / DEFAULT_NAME
    return Traces(path)
