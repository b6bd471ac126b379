"""Notice a call that was made before and is answered the same again: nothing was learned from it.

The one before may be any of the last 400 steps. An error may be tried again, since what was busy may be free by
now. It is for tools that read; where a call changes something, the same one may be right many times.

Source: none; it is the step-level cascade's repeated action and observation, without waiting for a row of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from orchestrator.monitors.window import Move, moves_of
from orchestrator.options import check_texts, check_whole
from orchestrator.think_tags import said
from orchestrator.types import Event, History, Step, StepKind

__all__ = ["Redundant"]

_REACH = 400
"""Steps that are looked at, the last ones, so that a long run costs no more."""


@dataclass(frozen=True, kw_only=True)
class Redundant:
    """Raise an event behind a call whose answer was known, or whose error was seen so often."""

    kind: str = "redundant"
    """What the event is called, and so what is done about it; `stuck` is what a cascade hands over for by itself."""
    tries: int = 2
    """Times that an error may be seen before its call is redundant; at least 1."""

    def __post_init__(self) -> None:
        check_texts("monitor redundant", self, kind="name the event, such as redundant or stuck")
        check_whole("monitor redundant", self, tries=1)

    @property
    def raises(self) -> tuple[str, ...]:
        """The kind, and no other."""
        return (self.kind,)

    def watch(self, history: History) -> Event | None:
        """Look for the last call and its answer among those before."""
        if history.steps[-1].kind is not StepKind.OBSERVATION:
            return None
        (last,) = moves_of(history, last=1)
        if not last.action:
            return None
        times = _times(history.steps[: last.last_step - 1], last)
        allowed = self.tries if last.is_error else 1
        if times < allowed:
            return None
        reason = f"answered the same before: {last.action[:200]} -> {last.observation[:200]}"
        return Event(self.kind, " ".join(reason.split()), value=times, threshold=allowed)


def _times(steps: Sequence[Step], last: Move) -> int:
    """Return how often the same call was answered the same, as far back as is looked."""
    return sum(
        step.text.strip() == last.observation and said(before.text).strip() == last.action
        for before, step in pairwise(steps[-_REACH:])
        if step.kind is StepKind.OBSERVATION
    )
