"""What a router chooses, with everything one needs to ask why: a plan of a step, a decision about a draft or events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from orchestrator.types import Signal, Status

__all__ = [
    "Conclude",
    "Decision",
    "Handback",
    "Handoff",
    "Keep",
    "Plan",
    "Rewrite",
    "Rollback",
    "StopRun",
    "conclude",
    "handback",
    "handoff",
    "keep",
    "rewrite",
    "rollback",
    "stop",
]


class Plan(NamedTuple):
    """Who drafts the next step, and how."""

    engine: str
    max_tokens: int | None = None
    """Tokens the draft may have; None leaves it to the engine's sampling options."""
    logprobs: int = 0
    """How many alternatives per token the router wants to see; 0 for none."""
    reason: str = ""
    """Why this engine; empty when the policy always starts there."""
    whole: bool = False
    """Write on to the end of the text in one call, past every delimiter: it all is one step. So is what replaces it."""
    lead: str = ""
    """Text that the policy puts at the start of the step; the engine goes on from there."""
    features: tuple[float, ...] = ()
    """What a learner decided by; it comes back with the outcome. Kept only with a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a router chose about a draft, and everything one needs to ask why."""

    action = "decide"
    reason: str
    signals: tuple[Signal, ...] = ()
    threshold: float | None = None
    margin: float | None = None
    """The reading minus the threshold, in the threshold's unit: negative below it, whichever side a draft has to be on.

    A rating stands where this is 0 or more; an entropy, or the chance that another engine does better, where it is 0
    or less. threshold + margin is the reading.
    """
    alternatives: tuple[str, ...] = ()
    """Other actions the policy could have taken here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep(Decision):
    """The draft stands."""

    action = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite(Decision):
    """The draft is thrown away and `engine` writes the step."""

    action = "rewrite"
    engine: str
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback(Decision):
    """The draft and every kept step from index `to_step` on are thrown away."""

    action = "rollback"
    to_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff(Decision):
    """The draft is thrown away; `engine` writes this step and the next ones, up to index `until`, None for all."""

    action = "handoff"
    engine: str
    until: int | None = None
    failed: str = ""
    """The engine that failed, where the runtime hands over because of that."""
    turns: int | None = None
    """Hand over for so many turns instead: a turn ends with what a tool answers, and every step is one where
    there are no tools."""
    note: str = ""
    """What `engine` begins with, in its own voice, such as that something else should be tried."""
    to_step: int | None = None
    """In answer to events: the kept steps from this index on are thrown away first, as far as what tools did in them
    can be taken back, and `engine` writes in their place."""
    whole: bool = False
    """Its steps are whole turns, see Plan. The runtime says it, where those before were: nobody plans these."""
    max_tokens: int | None = None
    """Tokens each of its steps may have, which the runtime says, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handback(Decision):
    """The hand-over in force ends: from here on the router is asked again."""

    action = "handback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclude(Decision):
    """The thought is closed and the answer asked for. What was kept stays."""

    action = "conclude"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRun(Decision):
    """The draft stands and the run ends here."""

    action = "stop"
    status: Status | None = None
    """None: whatever the answer extractor finds."""


def keep(*signals: Signal, reason: str = "kept", **why: Any) -> Keep:
    """Let the draft stand. `why` takes threshold, margin and alternatives."""
    return Keep(reason=reason, signals=signals, **why)


def rewrite(
    engine: str, *signals: Signal, reason: str = "rejected", max_tokens: int | None = None, **why: Any
) -> Rewrite:
    """Throw the draft away and let `engine` write the step."""
    return Rewrite(engine=engine, max_tokens=max_tokens, reason=reason, signals=signals, **why)


def rollback(to_step: int, *signals: Signal, reason: str = "rolled back", **why: Any) -> Rollback:
    """Throw the draft and every kept step from `to_step` on away."""
    return Rollback(to_step=to_step, reason=reason, signals=signals, **why)


def handoff(
    engine: str, *signals: Signal, until: int | None = None, reason: str = "handed over", **why: Any
) -> Handoff:
    """Throw the draft away and let `engine` write up to step `until`. `why` takes turns and note, too."""
    return Handoff(engine=engine, until=until, reason=reason, signals=signals, **why)


def handback(*signals: Signal, reason: str = "handed back", **why: Any) -> Handback:
    """End the hand-over in force."""
    return Handback(reason=reason, signals=signals, **why)


def conclude(*signals: Signal, reason: str = "thought enough", **why: Any) -> Conclude:
    """Close the thought and ask for the answer."""
    return Conclude(reason=reason, signals=signals, **why)


def stop(*signals: Signal, status: Status | None = None, reason: str = "stopped", **why: Any) -> StopRun:
    """Keep the draft and end the run."""
    return StopRun(status=status, reason=reason, signals=signals, **why)
