"""Notice nothing and raise an event every few moves: what a monitor has to beat at the same number of events."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.monitors.window import has_ended, moves_of
from orchestrator.options import check_texts, check_whole
from orchestrator.types import Event, History

__all__ = ["Every"]


@dataclass(frozen=True, kw_only=True)
class Every:
    """Raise an event behind every so-many-th move of the window, whatever was done.

    Source: StepWise's periodic baseline, a check every 5 steps.
    """

    moves: int = 5
    """At least 1."""
    kind: str = "stuck"
    """What the event is called, and so what is done about it."""

    def __post_init__(self) -> None:
        check_whole("every", self, moves=1)
        check_texts("every", self, kind="name the event, such as stuck or milestone")

    @property
    def raises(self) -> tuple[str, ...]:
        """The kind, and no other."""
        return (self.kind,)

    def watch(self, history: History) -> Event | None:
        """Count the moves."""
        moves = moves_of(history)
        if not has_ended(history, moves) or len(moves) % self.moves:
            return None
        return Event(self.kind, f"move {len(moves)} of the window, one of every {self.moves}")
