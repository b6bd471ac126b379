"""The small engine solves the whole task alone; a gate accepts its answer or hands the task to the large engine.

A rejected solution is thrown away and the next engine begins anew from the task. With more than two engines it is a
ladder: each solves in turn and passes the same gate, but the last, which is never gated. The gate is one of:
- `separability`: how far the most likely token stands out, at the worst token of the answer, as a number in [0, 1];
- `agreement`: the share of `num` solutions, drawn anew by the same engine, whose answer is the draft's; an engine at
  temperature 0 would repeat itself, and is refused;
- `forced`: the share of `num` answers forced behind the draft that are the draft's; cheap, and easily too kind, because
  they have read it.

Source: SpecEyes (per-token separability S = (l1 - mean) / (std + 1e-6) over the K most likely tokens of each token of
the answer, the minimum over them, a sigmoid, accepted from tau on). Differs:
- the large engine is not asked first whether the task needs tools;
- logprobs stand for logits, which changes no separability; K is 20, what vLLM shows by default (there 64). S is at most
  the root of K - 1, so a threshold that K cannot reach is refused;
- tau 0.98 is the authors' example for their engines; it has to be calibrated for others;
- the answer is the one that the pipeline's extractor finds; a draft without one, or one that ran out of tokens, is
  rejected whatever the gate;
- a token of the answer that the server shows fewer than two alternatives of has no separability: there is no reading;
- agreement as a gate is ours, as is a ladder of engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import Literal

from orchestrator import uncertainty
from orchestrator.answers import plain
from orchestrator.decisions import Decision, Plan, keep, rewrite
from orchestrator.doors import Ask, Needs
from orchestrator.errors import EngineError, SignalUnavailable, UserError
from orchestrator.options import check_choice, check_range, check_whole
from orchestrator.routers.rejection import ON_UNREADABLE, OnUnreadable, climb, unread, verdict
from orchestrator.types import History, Signal, Step, Stop, TokenLogprob

__all__ = ["AnswerGate"]

GATES = ("separability", "agreement", "forced")
_PLACES = 64
"""Places of an answer in its text that are looked at, the last ones."""


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
        check_choice("answer-gate", self, gate=GATES, on_unreadable=ON_UNREADABLE)
        check_range("answer-gate", self, threshold="[0, 1.01] (a reading is in [0, 1])")
        check_whole("answer-gate", self, num=1, top=2, max_tokens=1)
        most = _sigmoid(sqrt(self.top - 1))
        if self.gate == "separability" and most < self.threshold <= 1:
            raise UserError(
                f"answer-gate: threshold = {self.threshold!r} is never reached with top = {self.top}, which reads at "
                f"most {most:.4f}: lower the threshold or raise top"
            )

    @property
    def needs(self) -> Needs:
        """Two engines, and alternatives of the tokens where separability can decide."""
        redraws = self.gate == "agreement" and 0 < self.threshold <= 1
        return Needs(logprobs=self._logprobs, engines=2, redraws=redraws)

    @property
    def _logprobs(self) -> int:
        return self.top if self.gate == "separability" and 0 < self.threshold <= 1 else 0

    def before_step(self, history: History) -> Plan:
        """Let the small engine solve; whoever began a solution that stands goes on with it."""
        if history.steps:
            return Plan(engine=history.last_writer, max_tokens=self.max_tokens, whole=True)
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
        answer = ask.answer_in(solution.text)
        if answer is None:
            return rewrite(history.large, reason="the solution has no answer", threshold=self.threshold)
        try:
            signal = await self._read(draft, solution, answer, ask)
        except SignalUnavailable as missing:
            return unread(history.large, missing, self.on_unreadable, self.threshold)
        assert signal.value is not None
        margin = signal.value - self.threshold
        reading = f"{self.gate} {signal.value:.3g} of {answer!r}"
        stands = margin >= 0
        reason = f"{'accepted' if stands else 'rejected'}: {reading}"
        return verdict(history.large, signal, stands=stands, reason=reason, threshold=self.threshold, margin=margin)

    async def _read(self, draft: Step, solution: Step, answer: str, ask: Ask) -> Signal:
        """Return the gate's reading. Raises SignalUnavailable."""
        if self.gate == "separability":
            tokens = _tokens_of(solution, *_place(solution.text, answer, ask))
            if few := sum(len(token.top) < 2 for token in tokens):
                why = f"{few} of {len(tokens)} tokens of the answer have fewer than two alternatives"
                raise SignalUnavailable(self.gate, why)
            worst = float(uncertainty.separabilities(tokens).min())
            return Signal(name=self.gate, value=_sigmoid(worst), raw=worst, unit="std")
        wanted = plain(answer)
        if self.gate == "forced":
            found = [plain(each) for each in await ask.answers(solution.writer, solution, num=self.num)]
        else:
            found = await self._redrawn(draft, solution, ask)
        share = sum(each == wanted for each in found) / self.num
        return Signal(name=self.gate, value=share, raw=share, unit=f"share of {self.num}")

    async def _redrawn(self, draft: Step, solution: Step, ask: Ask) -> list[str]:
        """Return the answers of `num` further solutions by the same engine; sample 0 of a later one is itself."""
        first = 0 if solution is draft else 1
        try:
            others = [await ask.alternative(solution.writer, draft, sample=first + each) for each in range(self.num)]
        except EngineError as error:
            raise SignalUnavailable(self.gate, str(error)) from error
        answers = [ask.answer_in(other.text) for other in others]
        return [plain(answer) for answer in answers if answer is not None]


def _place(text: str, answer: str, ask: Ask) -> tuple[int, int]:
    """Return where in the text the answer stands that the pipeline finds there: the place it is no more found without.

    Raises SignalUnavailable where there is none, as with an extractor that makes its answer of what it reads.
    """
    end = len(text)
    for _ in range(_PLACES):
        if (start := text.rfind(answer, 0, end)) < 0:
            break
        if ask.answer_in(text[:start] + "\0" * len(answer) + text[start + len(answer) :]) != answer:
            return start, start + len(answer)
        end = start + len(answer) - 1
    raise SignalUnavailable("separability", f"the answer {answer[:40]!r} has no place of its own in the text")


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


def _sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value))
