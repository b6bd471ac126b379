"""Notice nothing and raise an event by chance: what a monitor has to beat at the same number of events."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from orchestrator.monitors.window import has_ended, moves_of
from orchestrator.options import check_range, check_texts
from orchestrator.types import Event, History

__all__ = ["Chance"]


@dataclass(frozen=True, kw_only=True)
class Chance:
    """Raise an event behind a share of the moves, drawn anew for each.

    The draw is a function of the run's seed, the monitor's seed, the event and the step's index: a resumed run
    draws the same. A share of 0 is never, a share of 1 behind every move.
    """

    share: float = 0.2
    """In [0, 1]."""
    kind: str = "stuck"
    """What the event is called, and so what is done about it."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("chance", self, share="[0, 1]")
        check_texts("chance", self, kind="name the event, such as stuck or milestone")

    @property
    def raises(self) -> tuple[str, ...]:
        """The kind, and no other."""
        return (self.kind,)

    def watch(self, history: History) -> Event | None:
        """Draw."""
        if not has_ended(history, moves_of(history)):
            return None
        drawn = Random(f"{history.seed}:{self.seed}:{self.kind}:{history.steps[-1].index}").random()
        if drawn >= self.share:
            return None
        return Event(self.kind, f"drew {drawn:.3f} < share {self.share:g}", value=drawn, threshold=self.share)
