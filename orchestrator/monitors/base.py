"""What a monitor is: it watches the history of a run and raises events."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from orchestrator.types import History

__all__ = ["Event", "Monitor"]


class Event(NamedTuple):
    """Something a monitor noticed."""

    kind: str
    reason: str
    ends_run: bool = False
    """The run stops here; otherwise the event is only recorded."""


class Monitor(Protocol):
    """Watches. It does no input or output and keeps no state of its own: the history is all there is."""

    def watch(self, history: History) -> Event | None:
        """Return what is noticed after the last kept step, or None. Called once per kept step."""
        ...
