"""The doors of a router: who drafts, does the draft stand, and what is to be learned from how it ended.

A router is a plain object with any of the doors; a door it lacks has the default below, and without
`after_run` nothing is learned.
It does no input or output of its own: `ask` is its only way to learn anything, and every ask is
metered, cached per draft and written to the trace.

Both doors answer from what they are given and keep nothing: where a pipeline overlaps (types.Overlap) they are asked
about drafts as if they stood, which may never come to be, and again once it is known. A router may also have
`prior(history, draft) -> float`: the chance, in [0, 1], that it will reject the draft, said from what is at hand
without asking anybody. It decides nothing; a rewrite that it makes likely is begun together with the verdict.
That pays where a verdict is waited for. A router that decides by what is at hand has its own decision for a prior, 0
or 1: it hides nothing, but begins no rewrite that is dropped at once. Without a prior, or where it is None, the share
of drafts that the run has rejected so far stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from orchestrator.decisions import Decision, Plan, StopRun, keep
from orchestrator.doors import Ask, Needs
from orchestrator.types import Event, History, Outcome, Step

__all__ = ["UNASKED", "Learner", "Router", "Watchful", "draft_small", "keep_all"]


class Router(Protocol):
    """The whole interface, for type checkers; no class has to inherit from it."""

    needs: Needs

    def before_step(self, history: History) -> Plan | StopRun:
        """Say who drafts the next step, or end the run here."""
        ...

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Say whether the draft stands. A rewrite that this asks for stands without asking again."""
        ...


class Watchful(Router, Protocol):
    """A router that does something about what monitors notice.

    It may say in `heeds`, a tuple, about which kinds: a pipeline is refused whose monitors raise none of them.
    """

    async def on_events(self, history: History, events: Sequence[Event], ask: Ask) -> Decision:
        """Say what follows from the events raised behind the last kept step; there is at least one.

        `keep` lets the run go on as it was; `handoff`, `handback`, `rollback`, `conclude` and `stop` do what they say
        from the next step on. Not asked where an event ended the run or closed the thought by itself.
        """
        ...


class Learner(Router, Protocol):
    """A router that learns from how runs end."""

    def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the state that follows from `state`, which is left as it is, when a run ends like this.

        Called when a run ends, and again, `is_late`, if its reward comes only then. Runs end in any order, and
        `state` may hold more than the run had known. It is plain JSON data, empty before the first run, and
        later runs find it as `history.learned`. Routers with the same options and engines share it; the runtime
        stores every version of it.
        """
        ...


UNASKED = "this policy keeps every draft"
"""Why a draft stands at a router that is not asked."""


def draft_small(history: History) -> Plan:
    """Let the cheapest engine draft: what happens at a router without `before_step`."""
    return Plan(engine=history.engines[0])


async def keep_all(history: History, draft: Step, ask: Ask) -> Decision:
    """Let every draft stand: what happens at a router without `after_draft`."""
    return keep(reason=UNASKED)
