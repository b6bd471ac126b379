"""What a mode's policy is: it decides how much to think about a task, before anything is written.

A plain object with `choose`; what else it has of the doors below is used as well. It does no input or output of its
own: `ask` is its only way to learn anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from orchestrator.doors import Ask, Needs
from orchestrator.types import History, Mode, Outcome, Signal

__all__ = ["Chosen", "Knowing", "Learning", "ModePolicy", "Needing", "Reconsidering"]


class Chosen(NamedTuple):
    """A mode, and everything one needs to ask why. It is in the trace before anything is written in it."""

    mode: Mode
    reason: str
    signals: tuple[Signal, ...] = ()
    threshold: float | None = None
    margin: float | None = None
    """See decisions.Decision."""


class ModePolicy(Protocol):
    """Chooses a mode for each task."""

    async def choose(self, history: History, ask: Ask) -> Chosen:
        """Say how much to think about the task; no step has been written.

        A SignalUnavailable that it lets through ends in the pipeline's fallback mode, which the trace says.
        """
        ...


class Needing(ModePolicy, Protocol):
    """Cannot work without something; checked when the pipeline starts."""

    @property
    def needs(self) -> Needs:
        """Scorers that it asks, and alternatives per token of answers or of what is written in a mode that it may
        reconsider.

        It needs them of the engine that its `engine` names, or else of the cheapest; where it reconsiders, of any that
        writes. Where they cannot be had every run has the pipeline's fallback mode, which the trace says; without one
        the pipeline does not start. Nor does it where there is no such scorer.
        """
        ...


class Reconsidering(ModePolicy, Protocol):
    """May find that what was written in its mode does not do, once."""

    async def reconsider(self, history: History, answer: str | None, ask: Ask) -> Chosen:
        """Return the mode the run had if `answer` stands, or another one: everything is thrown away then, and the run
        begins anew in that mode. Asked once, when a run that was not stopped by a limit is about to end."""
        ...


class Learning(ModePolicy, Protocol):
    """Learns from how runs end."""

    def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the state that follows from `state`; see routers.base.Learner. Runs find it as `history.lengths`."""
        ...


class Knowing(ModePolicy, Protocol):
    """Knows how long thoughts about such a task are, which says what a thought that was ended early has saved."""

    def usual(self, history: History) -> float | None:
        """Return it in tokens, None where it is not known."""
        ...
