"""Notice nothing and raise an event every few moves: what a monitor has to beat at the same number of events."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.errors import UserError
from orchestrator.monitors.window import Move, moves_of
from orchestrator.types import Event, History, StepKind

__all__ = ["Every", "moves_done"]


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
        if self.moves < 1:
            raise UserError(f"every: moves = {self.moves!r} must be at least 1")
        if not self.kind.strip():
            raise UserError("every: kind is empty: name the event, such as stuck or milestone")

    @property
    def raises(self) -> tuple[str, ...]:
        """The kind, and no other."""
        return (self.kind,)

    def watch(self, history: History) -> Event | None:
        """Count the moves."""
        number = len(moves_done(history))
        if not number or number % self.moves:
            return None
        return Event(self.kind, f"move {number} of the window, one of every {self.moves}")


def moves_done(history: History) -> list[Move]:
    """Return the moves of the window where the last step completes one; nothing behind any other step.

    A call is complete with what the tool answered, so every move is told of once.
    """
    moves, last = moves_of(history), history.steps[-1]
    is_done = moves and moves[-1].last_step == last.index and last.kind is not StepKind.ACTION
    return moves if is_done else []
