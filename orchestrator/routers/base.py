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
from dataclasses import dataclass
from typing import Any, Protocol, overload

from orchestrator.types import Decision, History, Outcome, Plan, Signal, Step, StopRun, keep

__all__ = ["UNASKED", "Ask", "Learner", "Needs", "Router", "draft_small", "keep_all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a router cannot work without; checked against the engines when the pipeline is built."""

    scorers: tuple[str, ...] = ()
    """Names of scorers it asks."""
    logprobs: int = 0
    """Alternatives per token it reads from drafts."""
    reads_rewrites: bool = False
    """Reads the same of what an engine writes in a draft's place; else such a step carries no logprobs."""
    redraws: bool = False
    """Compares what an engine writes with what it would write another time, so at temperature 0 with itself."""
    samples: int = 1
    """How many alternatives of the largest engine it learns from at each step; at temperature 0 they are all one."""
    engines: int = 1
    """How many engines it routes between, at least."""
    steps: bool = True
    """Routes steps, so every engine must continue token ids. False: it decides before an engine writes,
    and where one of them writes only whole turns (a chat-only API) the run is a single turn."""
    targets: tuple[str, ...] = ()
    """Engines it names to write what it rejects: each has to write here, and none can be the cheapest."""
    calibrated: bool = False
    """Its threshold means nothing until it was chosen for these engines: without a calibration for this very pair
    it runs in experiments only."""


class Ask(Protocol):
    """How a router gets signals."""

    @overload
    async def score(self, name: str, draft: Step) -> Signal: ...
    @overload
    async def score(self, name: str, draft: Sequence[Step]) -> list[Signal]: ...
    async def score(self, name: str, draft: Step | Sequence[Step]) -> Signal | list[Signal]:
        """Score one draft, or several at once, with the scorer called `name`.

        Raises SignalUnavailable if there is no honest score; what then is the router's own decision.
        """
        ...

    async def alternative(self, engine: str, draft: Step, *, sample: int = 0) -> Step:
        """Return what `engine` writes in the place of `draft`, from the same prefix; `sample` counts independent draws.

        A draft like any other: it can be scored, and a later `rewrite` by that engine keeps sample 0 as it is.
        What is not kept is discarded work. Raises EngineError.
        """
        ...

    async def answers(self, engine: str, draft: Step | None = None, *, num: int = 1) -> list[str]:
        """Return the answers that `engine` gives when it has to answer now, behind the kept steps and `draft`.

        One entry per sample that held an answer, so at most `num`. Raises SignalUnavailable if the thought
        cannot be closed there.
        """
        ...

    def answer_in(self, text: str) -> str | None:
        """Return the answer that the pipeline finds in a text, None for none: the same that a run ends with."""
        ...


class Router(Protocol):
    """The whole interface, for type checkers; no class has to inherit from it."""

    needs: Needs

    def before_step(self, history: History) -> Plan | StopRun:
        """Say who drafts the next step, or end the run here."""
        ...

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Say whether the draft stands. A rewrite that this asks for stands without asking again."""
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
