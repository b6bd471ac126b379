"""A run's trace, from Python: the stored record and its timeline."""

from __future__ import annotations

from typing import IO

from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal

__all__ = ["Trace"]


class Trace:
    """What the journal holds about one run. It reads when it is asked, so the journal must still be open."""

    def __init__(self, journal: Journal, run_id: str) -> None:
        self._journal = journal
        self._run_id = run_id

    @property
    def stored(self) -> StoredRun:
        """Everything about the run, each list in the order it was written."""
        return self._journal.run(self._run_id)

    def show(self, file: IO[str] | None = None) -> None:
        """Print the timeline that `orchestrator trace show` prints, to standard output unless `file` is given."""
        from orchestrator.runtime.fork import ancestors
        from orchestrator.runtime.paper import width_of, write
        from orchestrator.runtime.timeline import timeline

        stored, width = self.stored, width_of(file)
        write(timeline(stored, ancestors(self._journal, stored), width=width), file, width=width)
