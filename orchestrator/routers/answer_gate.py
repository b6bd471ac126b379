"""The small engine solves the whole task alone; a gate accepts its answer or hands the task to the large engine.

A rejected solution is thrown away and the next engine begins anew from the task. With more than two engines it is a
ladder: each solves in turn and passes the same gate, but the last, which is never gated. The gate is one of:
- `separability`: how far the most likely token stands out, at the worst token of the answer, as a number in [0, 1];
- `agreement`: the share of `num` solutions, drawn anew by the same engine, whose answer is the draft's;
- `forced`: the share of `num` answers forced behind the draft that are the draft's; cheap, and easily too kind, because
  they have read it.

Source: SpecEyes (per-token separability S = (l1 - mean) / (std + 1e-6) over the K most likely tokens of each token of
the answer, the minimum over them, a sigmoid, accepted from tau on). Differs:
- the large engine is not asked first whether the task needs tools;
- logprobs stand for logits, which changes no separability; K is 20, what vLLM shows by default (there 64). S is at most
  the root of K - 1, so a threshold that K cannot reach is refused;
- tau 0.98 is the authors' example for their engines; it has to be calibrated for others;
- the answer is what is boxed or marked in the text, or what follows `</think>`; a draft without one, or one that ran
  out of tokens, is rejected whatever the gate;
- agreement as a gate is ours, as is a ladder of engines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import Literal

from orchestrator import uncertainty
from orchestrator.errors import EngineError, SignalUnavailable, UserError
from orchestrator.routers.base import Ask, Needs
from orchestrator.routers.rejection import ON_UNREADABLE, OnUnreadable, check_choice, climb, unread
from orchestrator.types import Decision, History, Plan, Signal, Step, Stop, TokenLogprob, keep, rewrite

__all__ = ["AnswerGate"]

GATES = ("separability", "agreement", "forced")
_BOXED = "\\boxed{"
_MARK = re.compile(r"(?:\b(?:final )?answer\s*:|^####)[ \t*]*(?P<answer>[^\n]*[^\s*])", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class AnswerGate:
    """Keep the small engine's solution where the gate reads at least `threshold`; else the next engine solves."""

    gate: Literal["separability", "agreement", "forced"] = "separability"
    threshold: float = 0.98
    """In [0, 1.01]: 0 accepts every solution, above 1 the largest engine solves alone."""
    num: int = 4
    """Answers that are drawn or forced for a share."""
    top: int = 20
    """The paper's K: alternatives per token, for separability."""
    on_unreadable: OnUnreadable = "reject"
    """What a solution gets that has an answer and no reading."""
    max_tokens: int = 4096
    """Tokens a solution may have."""

    def __post_init__(self) -> None:
        check_choice("answer-gate", "gate", self.gate, GATES)
        check_choice("answer-gate", "on_unreadable", self.on_unreadable, ON_UNREADABLE)
        if not 0 <= self.threshold <= 1.01:
            raise UserError(f"answer-gate: threshold = {self.threshold!r} is not in [0, 1.01] (a reading is in [0, 1])")
        for option, least in (("num", 1), ("top", 2), ("max_tokens", 1)):
            if (value := getattr(self, option)) < least:
                raise UserError(f"answer-gate: {option} = {value!r} must be at least {least}")
        most = _sigmoid(sqrt(self.top - 1))
        if self.gate == "separability" and most < self.threshold <= 1:
            raise UserError(
                f"answer-gate: threshold = {self.threshold!r} is never reached with top = {self.top}, which reads at "
                f"most {most:.4f}: lower the threshold or raise top"
            )

    @property
    def needs(self) -> Needs:
        """Two engines, and alternatives of the tokens where separability can decide."""
        return Needs(logprobs=self._logprobs, engines=2)

    @property
    def _logprobs(self) -> int:
        return self.top if self.gate == "separability" and 0 < self.threshold <= 1 else 0

    def before_step(self, history: History) -> Plan:
        """Let the small engine solve; whoever began a solution that stands goes on with it."""
        if history.steps:
            return Plan(engine=history.steps[-1].writer, max_tokens=self.max_tokens, whole=True)
        if self.threshold > 1:
            return Plan(engine=history.large, max_tokens=self.max_tokens, whole=True, reason="no reading is above 1")
        return Plan(engine=history.small, max_tokens=self.max_tokens, whole=True, logprobs=self._logprobs)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        """Accept the solution, or let the next engine try."""
        if history.steps or draft.writer == history.large:
            return keep(reason="the solution goes on" if history.steps else "written by the large engine")
        if self.threshold == 0:
            return keep(reason="every reading is at least 0", threshold=0.0)

        async def gate(candidate: Step) -> Decision:
            return await self._decide(history, draft, candidate, ask)

        return await climb(history, draft, ask, gate)

    async def _decide(self, history: History, draft: Step, solution: Step, ask: Ask) -> Decision:
        if solution.stop is Stop.LENGTH:
            return rewrite(history.large, reason="the solution ran out of tokens", threshold=self.threshold)
        place = _place(solution.text)
        if place is None:
            return rewrite(history.large, reason="the solution has no answer", threshold=self.threshold)
        try:
            signal = await self._read(draft, solution, place, ask)
        except SignalUnavailable as missing:
            return unread(history.large, missing, self.on_unreadable, self.threshold)
        assert signal.value is not None
        margin = signal.value - self.threshold
        reading = f"{self.gate} {signal.value:.3g} of {solution.text[slice(*place)].strip()!r}"
        if margin >= 0:
            return keep(
                signal,
                reason=f"accepted: {reading}",
                threshold=self.threshold,
                margin=margin,
                alternatives=("rewrite",),
            )
        return rewrite(
            history.large,
            signal,
            reason=f"rejected: {reading}",
            threshold=self.threshold,
            margin=margin,
            alternatives=("keep",),
        )

    async def _read(self, draft: Step, solution: Step, place: tuple[int, int], ask: Ask) -> Signal:
        """Return the gate's reading. Raises SignalUnavailable."""
        if self.gate == "separability":
            worst = float(uncertainty.separabilities(_tokens_of(solution, *place)).min())
            return Signal(name=self.gate, value=_sigmoid(worst), raw=worst, unit="std")
        wanted = _plain(solution.text[slice(*place)])
        if self.gate == "forced":
            found = [_plain(answer) for answer in await ask.answers(solution.writer, solution, num=self.num)]
        else:
            found = await self._redrawn(draft, solution, ask)
        share = sum(answer == wanted for answer in found) / self.num
        return Signal(name=self.gate, value=share, raw=share, unit=f"share of {self.num}")

    async def _redrawn(self, draft: Step, solution: Step, ask: Ask) -> list[str]:
        """Return the answers of `num` further solutions by the same engine; sample 0 of a later one is itself."""
        first = 0 if solution is draft else 1
        try:
            others = [await ask.alternative(solution.writer, draft, sample=first + each) for each in range(self.num)]
        except EngineError as error:
            raise SignalUnavailable(self.gate, str(error)) from error
        places = [(other.text, _place(other.text)) for other in others]
        return [_plain(text[slice(*place)]) for text, place in places if place is not None]


def _place(text: str) -> tuple[int, int] | None:
    """Return where the answer stands: what is boxed last, else marked last, else what follows `</think>`."""
    if (place := _boxed(text)) or (place := _marked(text)):
        return place
    _, closed, rest = text.rpartition("</think>")
    start = len(text) - len(rest.lstrip())
    return (start, len(text.rstrip())) if closed and rest.strip() else None


def _boxed(text: str) -> tuple[int, int] | None:
    start = text.rfind(_BOXED)
    if start < 0:
        return None
    begin = start + len(_BOXED)
    depth = 1
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return (begin, place) if text[begin:place].strip() else None
    return None


def _marked(text: str) -> tuple[int, int] | None:
    found = list(_MARK.finditer(text))
    return found[-1].span("answer") if found else None


def _tokens_of(step: Step, begin: int, end: int) -> Sequence[TokenLogprob]:
    """Return the tokens that are at least in part between two places of the text.

    Counted from the end of the text, so that a character in pieces far before the answer does no harm. Raises
    SignalUnavailable where the tokens do not add up to the text there.
    """
    tokens, place, chosen = step.logprobs or (), len(step.text), []
    for token in reversed(tokens):
        if place <= begin:
            break
        start = place - len(token.text)
        if start < 0 or step.text[start:place] != token.text:
            raise SignalUnavailable("separability", f"token {token.text!r} is not where the text has it")
        if start < end:
            chosen.append(token)
        place = start
    return chosen[::-1]


def _plain(answer: str) -> str:
    """Return an answer so that two that differ in spaces, case, dollars or a full stop only are the same."""
    return "".join(answer.split()).strip("$.").casefold()


def _sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value))
