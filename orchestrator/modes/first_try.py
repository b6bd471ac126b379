"""Answer without thinking first; where a gate doubts the answer, throw it away and think.

A gate reads the answer that was written, so it is asked when the run is about to end:
- `written`: how sure the engine was of what it wrote, as the probability of a token of the last step; it takes nothing;
- `agreement`: the share of `num` answers, forced in the place of the last step, that are the one that was written;
- `confidence`: how sure the engine is when it has to give that answer again, as the probability of a token of it; 0 if
  it gives another one;
- any other name is a scorer's, which reads the last step: `judge`, `verdict`, `prm`, ...;
- `check`, a function of the user's, stands in for all of them.

Answers are forced in front of the last step, not behind it, because whoever has read an answer repeats it. Where the
answer was written in one go nothing stands before it, and they are answers to the bare task.

Source: the verifier cascade ("no-think, then escalate") of HRBench, and AdaptThink's test that a doubted answer falls
back to thinking and never the other way round. Differs: HRBench has a deterministic gate or the answer's log
probability; agreement and scorers are ours, as are all numbers below. A run escalates at most once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Literal

from orchestrator.answers import plain
from orchestrator.doors import Ask, Needs
from orchestrator.errors import SignalUnavailable, UserError
from orchestrator.modes.base import Chosen
from orchestrator.modes.fixed import FIXED, fixed_of, thinking_of
from orchestrator.modes.gate import MOST, THRESHOLDS, confidence_in, reading, verdict
from orchestrator.options import check_choice, check_range, check_texts, check_whole
from orchestrator.types import History, Signal, question_of
from orchestrator.uncertainty import mean_logprob

__all__ = ["FirstTry"]

GATES = ("written", "agreement", "confidence")
"""Those that need no scorer."""


@dataclass(frozen=True, kw_only=True)
class FirstTry:
    """Answer without thinking, and think only where the gate reads less than `threshold` of that answer."""

    gate: str = "agreement"
    """`written`, `agreement`, `confidence`, or a scorer's name."""
    threshold: float = 0.75
    """In [0, 1.01]: from which reading on the first answer stands."""
    num: int = 4
    """Answers that agreement forces; the first is greedy."""
    check: Callable[[str, str], bool] | None = None
    """Says of the question and the answer whether it stands, in the gate's place; must say the same each time."""
    engine: str | None = None
    """Who is forced to answer; None for whoever wrote the last step."""
    first: Literal["no_think", "instant"] = "no_think"
    """How a task is answered first."""
    then: str = "think"
    """How it is answered if the gate doubts that: a fixed mode, budget and all."""
    on_unreadable: Literal["reject", "accept"] = "reject"
    """What an answer gets that has no reading."""

    def __post_init__(self) -> None:
        check_texts("first-try", self, gate=f"give {', '.join(GATES)} or a scorer's name", engine="")
        check_range("first-try", self, threshold=THRESHOLDS)
        check_whole("first-try", self, most=MOST, num=1)
        check_choice("first-try", self, first=("no_think", "instant"), on_unreadable=("reject", "accept"))
        if self.check is not None and not callable(self.check):
            raise UserError(f"first-try: check = {self.check!r:.60} must be a function of the question and the answer")
        thinking_of("first-try", self.then)

    @property
    def needs(self) -> Needs:
        """The scorer that is the gate, or logprobs of what is written or forced."""
        if self.check or self.gate in GATES:
            return Needs(logprobs=int(self.gate != "agreement" and not self.check))
        return Needs(scorers=(self.gate,))

    async def choose(self, history: History, ask: Ask) -> Chosen:
        """Begin without thinking; nobody is asked."""
        return Chosen(FIXED[self.first], f"a first try, behind the gate {self._gate}", threshold=self.threshold)

    async def reconsider(self, history: History, answer: str | None, ask: Ask) -> Chosen:
        """Let the answer stand or have the task thought about. A run that is not in its first try stays as it is."""
        first, then = FIXED[self.first], fixed_of(self.then)
        if history.mode is not None and history.mode != first:
            return Chosen(history.mode, "no first try: it stands")
        if answer is None or not history.steps:
            return Chosen(then, "the first try has no answer", threshold=self.threshold)
        try:
            signal = await self._read(history, answer, ask)
        except SignalUnavailable as missing:
            mode = first if self.on_unreadable == "accept" else then
            signal = Signal(name=missing.name, value=None, reason=missing.reason)
            reason = f"no reading of {missing.name} ({missing.reason}): {self.on_unreadable}"
            return Chosen(mode, reason, (signal,), self.threshold)
        assert signal.value is not None
        read = f"{self._gate} {signal.value:.3g} of {answer!r:.40}"
        return verdict(first, then, signal, value=signal.value, threshold=self.threshold, read=read)

    @property
    def _gate(self) -> str:
        return "check" if self.check else self.gate

    async def _read(self, history: History, answer: str, ask: Ask) -> Signal:
        """Return the gate's reading. Raises SignalUnavailable."""
        last = history.steps[-1]
        if self.check:
            return _checked(self.check, question_of(history.task.messages), answer)
        if self.gate == "written":
            return reading("written", exp(min(mean_logprob(last.logprobs or ()), 0.0)), "probability per token")
        if self.gate not in GATES:
            return await ask.score(self.gate, last)
        num = self.num if self.gate == "agreement" else 1
        trials = await ask.trials(self.engine or last.writer, before=last, num=num)
        if self.gate == "confidence":
            return confidence_in(answer, trials)
        same = sum(trial.answer is not None and plain(trial.answer) == plain(answer) for trial in trials)
        return reading("agreement", same / num, f"share of {num}")


def _checked(check: Callable[[str, str], bool], question: str, answer: str) -> Signal:
    try:
        return reading("check", float(bool(check(question, answer))), "0 or 1")
    except Exception as error:  # somebody else's function: what it raises says that there is no reading
        raise SignalUnavailable("check", f"it raised {type(error).__name__}: {error}") from error
