"""A run's trace, from Python: the stored record and its timeline. `orc.traces.of(result)` can be asked for more."""

from __future__ import annotations

from functools import cached_property
from typing import IO, TYPE_CHECKING

from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.runtime.displayed import Displayed

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Trace"]


class Trace(Displayed):
    """What a journal holds about one run; a notebook shows its timeline.

    It is read when it is first asked for, so the journal must be open then, and stays what it was.
    """

    def __init__(self, journal: Journal, run_id: str) -> None:
        self.journal = journal
        self.id = run_id

    @cached_property
    def stored(self) -> StoredRun:
        """Everything about the run, each list in the order it was written."""
        return self.journal.run(self.id)

    @cached_property
    def forked_from(self) -> list[StoredRun]:
        """The runs it was forked from, oldest first."""
        from orchestrator.runtime.fork import ancestors

        return ancestors(self.journal, self.stored)

    def drawn(self, width: int) -> Text:
        """Return the timeline in lines of at most `width` characters, at least 60."""
        from orchestrator.runtime.timeline import timeline

        return timeline(self.stored, self.forked_from, width=width)

    def show(self, file: IO[str] | None = None) -> None:
        """Print the timeline that `orchestrator trace show` prints, to standard output unless `file` is given."""
        from orchestrator.runtime.paper import width_of, write

        width = width_of(file)
        write(self.drawn(width), file, width=width)

    def __repr__(self) -> str:
        return f"<trace of run {self.id}>"
