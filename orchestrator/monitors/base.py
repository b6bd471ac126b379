"""What a monitor is: it watches the history of a run and raises events.

A monitor is a plain object with one of two doors. It does no input or output and keeps no state of its own: the
history is all there is, so that a resumed run notices what it noticed before. A monitor says what it sees; what is
done about it is the router's business (routers/base.py, `on_events`), but for an event that ends the run or closes
the thought, which the runtime carries out by itself.

A monitor may say in `raises`, a tuple, of which kinds the events are that it has for a router. Where it does not say,
they may be of any.
"""

from __future__ import annotations

from typing import Protocol

from orchestrator.doors import Ask, Needs
from orchestrator.types import Event, History

__all__ = ["Asking", "Monitor"]


class Monitor(Protocol):
    """Watches for what can be seen in the history itself."""

    def watch(self, history: History) -> Event | None:
        """Return what is noticed behind the last kept step, or None. Called once per kept step."""
        ...


class Asking(Protocol):
    """Watches for what an engine has to be asked about."""

    needs: Needs
    """Scorers and logprobs that it asks for; without the attribute, none."""
    is_late: bool
    """Its question is asked while the next step is being written, and heard when that is there: if the event then
    concludes or ends the run, that step is thrown away. False where the attribute is missing: the run waits."""

    async def look(self, history: History, ask: Ask) -> Event | None:
        """Return what is noticed behind the last kept step, or None. Called once per kept step.

        A SignalUnavailable or EngineError that it lets through is noted and counts as nothing noticed.
        """
        ...
