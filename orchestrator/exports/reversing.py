"""Write one text by the rule of reverse speculative decoding: the teacher proposes, the student accepts.

What stands is the teacher's token where the student gives it at least `threshold`, and the student's own draw where it
does not; both go on behind what stands. The student writes along: as long as both write the same, one call of each
serves for several tokens, and what is behind a disagreement is thrown away.

Source: Reverse Speculative Decoding, arXiv:2509.22230. Differs: the end of the text is not put to the student, the
teacher's is taken; where the student would end, it shows no probabilities, so the text ends there; a probability is
that of the student's distribution before temperature and top_p; a token whose probability cannot be known, because it
is not among those shown, is refused, and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from math import exp
from typing import Any

from orchestrator.engines.base import Completion
from orchestrator.errors import ContextExceeded, EngineProtocol, LimitExceeded
from orchestrator.options import check_range, check_whole
from orchestrator.runtime.run import Run
from orchestrator.types import Stop, TokenLogprob

__all__ = ["Reverse", "Trace", "chance", "traced"]

_PROPOSED, _SHOWN = 16, 8
"""Tokens that the teacher writes in one call, and the student."""
_ALTERNATIVES = 20
"""Per token of the student; vLLM shows no more unless told to. What they leave over bounds what is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse:
    """How traces are made. Raises UserError for options that mean nothing."""

    threshold: float = 0.01
    """Least probability of a token of the teacher's, in (0, 1]; one that has exactly this is taken."""
    length: int = 4096
    """Tokens of a trace; one that reaches it is left out."""

    def __post_init__(self) -> None:
        check_range("reverse", self, threshold="(0, 1]")
        check_whole("reverse", self, length=1)


@dataclass(slots=True, kw_only=True)
class Trace:
    """A trace that is being written."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    accepted: int = 0
    replaced: int = 0
    unread: int = 0
    logprob: float = 0.0
    """Sum of the student's, of the tokens that stand."""
    stop: Stop = Stop.LENGTH
    reason: str = "the trace is as long as it may be"

    def keep(self, token: TokenLogprob) -> None:
        """Let a token stand, with what the student says of it."""
        self.ids.append(token.id)
        self.text += token.text
        self.logprob += token.logprob

    def judge(self, own: TokenLogprob, token: int, threshold: float) -> None:
        """Let a token of the teacher's stand, or the student's own, which is shown with its alternatives."""
        probability, theirs = chance(own, token, threshold), _among(own, token)
        if probability is not None and probability >= threshold and theirs is not None:
            self.accepted += 1
            self.keep(theirs)
        else:
            self.replaced += probability is not None
            self.unread += probability is None
            self.keep(own)

    def end(self, who: str) -> None:
        """Note who ended the text."""
        self.stop, self.reason = Stop.END, f"the {who} ended its text"

    @property
    def prob(self) -> float:
        """Geometric mean of the student's probabilities of the tokens that stand, in (0, 1]; 1 of none."""
        return exp(self.logprob / len(self.ids)) if self.ids else 1.0


def chance(shown: TokenLogprob, id: int, threshold: float) -> float | None:
    """Return the student's probability of a token at a place where it shows its own and the likeliest.

    Of a token that it does not show, what it can be at most, if that is below `threshold`; else None: nobody knows.
    """
    if (found := _among(shown, id)) is not None:
        return exp(found.logprob)
    probs = [exp(each.logprob) for each in shown.top]
    at_most = max(0.0, min(min(probs), 1 - sum(probs))) if probs else 1.0
    return at_most if at_most < threshold else None


def _among(shown: TokenLogprob, id: int) -> TokenLogprob | None:
    return next((each for each in (shown, *shown.top) if each.id == id), None)


async def traced(run: Run, student: str, teacher: str, options: Reverse) -> Trace:
    """Return the trace of a run's task, ended by an engine, or at the length or a limit. Raises EngineError."""
    trace = Trace()
    try:
        await _write(trace, run, student, teacher, options)
    except (LimitExceeded, ContextExceeded) as error:
        trace.reason = str(error)
    return trace


async def _write(trace: Trace, run: Run, student: str, teacher: str, options: Reverse) -> None:
    numbers, alternatives = count(), min(_ALTERNATIVES, run.shows[student])
    begun = {name: await run.stream.prefix(name) for name in (student, teacher)}

    async def ask(engine: str, purpose: str, tokens: int, logprobs: int = 0) -> Completion:
        return await run.call(
            engine,
            purpose,
            begun[engine].extended(trace.ids),
            place=(0, next(numbers)),
            sampling=run.samplings[engine],
            max_tokens=tokens,
            logprobs=logprobs,
        )

    proposed: deque[int | None] = deque()
    shown: deque[TokenLogprob | None] = deque()
    while len(trace.ids) < options.length:
        if not proposed:
            wrote = await ask(teacher, "propose", _PROPOSED)
            proposed.extend(_and_end(teacher, wrote, wrote.ids))
        if not shown:
            wrote = await ask(student, "accept", _SHOWN, alternatives)
            shown.extend(_and_end(student, wrote, wrote.logprobs or ()))
        token, own = proposed.popleft(), shown.popleft()
        if token is None or own is None:
            return trace.end("teacher" if token is None else "student")
        trace.judge(own, token, options.threshold)
        if trace.ids[-1] != token:
            proposed.clear()
        if trace.ids[-1] != own.id:
            shown.clear()


def _and_end(name: str, wrote: Completion, tokens: Sequence[Any]) -> list[Any]:
    """Return what a call shows of the text, token by token, with None behind its last one where the text ends.

    Raises EngineProtocol if that is nothing.
    """
    is_whole = wrote.stop is Stop.END and len(tokens) == len(wrote.ids)
    found = [*tokens, *([None] if is_whole else [])]
    if not found:
        raise EngineProtocol(f"engine {name!r} wrote nothing that could be judged, and did not end", engine=name)
    return found
