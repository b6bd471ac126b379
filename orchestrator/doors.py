"""What policies are given: what they may ask for while they decide, and what they say they cannot do without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, overload

from orchestrator.types import Signal, Step

__all__ = ["Ask", "Choice", "Needs", "Trial"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a policy cannot work without; checked against the engines when the pipeline is built and started."""

    scorers: tuple[str, ...] = ()
    """Names of scorers it asks."""
    logprobs: int = 0
    """Alternatives per token it reads, of drafts or of answers that it asks for."""
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


class Trial(NamedTuple):
    """An answer that an engine was made to give at once."""

    answer: str | None
    """Up to the brace that closes it; None where that never came, or nothing stood before it."""
    logprob: float | None = None
    """Mean natural-log probability of its tokens, <= 0; None where the engine gives none."""
    entropy: float | None = None
    """Sum of the entropies of its tokens over the alternatives shown, nats, >= 0: a lower bound. None as above."""


class Choice(NamedTuple):
    """What an engine chose among words it was given."""

    word: str
    """The likeliest of them."""
    share: float
    """Its probability among them, in (0, 1]."""


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

    async def trials(
        self, engine: str, draft: Step | None = None, *, before: Step | None = None, num: int = 1
    ) -> list[Trial]:
        """Return `num` answers that `engine` gives when it has to answer now; the first is greedy.

        As `answers`, with how sure the engine was of each. With `before`, a kept step, it has read what was kept
        before that one only: so is an answer asked for again of an engine that has not seen it. Raises
        SignalUnavailable.
        """
        ...

    async def choose(self, engine: str, question: str, words: Sequence[str], *, of_task: bool = True) -> Choice:
        """Let `engine` answer a question of ours with one of `words`, in a prompt of its own: no step ever sees it.

        The task stands before the question where `of_task`. Raises SignalUnavailable where none of the words is among
        its likeliest tokens, or it shows none.
        """
        ...
