"""Ask for the answer a few times before anything is written: where the answers agree, there is nothing to think about.

Source: AdaptThink's rule, without its training: answer at once where the chance to be right without thinking is at
least that with thinking, less delta (0.05 there). Differs: the chance is the share of `num` forced answers that are
alike, for engines that were not trained to choose; so whoever knows both chances sets `threshold` to the one with
thinking less delta. The idea to read a task's difficulty from the agreement of fast answers is DynaThink's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.doors import Ask, Needs
from orchestrator.errors import UserError
from orchestrator.modes.base import Chosen
from orchestrator.modes.fixed import FIXED, fixed_of, thinking_of
from orchestrator.modes.gate import MOST, THRESHOLDS, confidence_in, most_frequent, reading, verdict
from orchestrator.options import check_choice, check_range, check_texts, check_whole
from orchestrator.types import History

__all__ = ["Agreement"]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Answer without thinking where enough of the forced answers are the same, and are given surely enough.

    A SignalUnavailable comes through where no answer can be forced, or the engine shows no logprobs.
    """

    threshold: float = 0.75
    """In [0, 1.01]: the share of answers that have to be the most frequent one."""
    num: int = 4
    """Answers that are forced; the first is greedy. With one there is nothing to agree: set `confidence`."""
    confidence: float = 0.0
    """In [0, 1]: how sure the engine has to be of that answer, as the probability of a token of it; 0 does not ask."""
    engine: str | None = None
    """Who is asked; None for the cheapest, which writes first under most routers."""
    cheap: Literal["no_think", "instant"] = "no_think"
    """How a task is answered that need not be thought about."""
    then: str = "think"
    """How any other is: a fixed mode, budget and all."""

    def __post_init__(self) -> None:
        check_whole("agreement", self, most=MOST, num=1)
        check_choice("agreement", self, cheap=("no_think", "instant"))
        check_range("agreement", self, threshold=THRESHOLDS, confidence="[0, 1]")
        check_texts("agreement", self, engine="")
        if self.num == 1 and not self.confidence:
            raise UserError("agreement: num = 1 always agrees with itself: raise num, or set confidence")
        thinking_of("agreement", self.then)

    @property
    def needs(self) -> Needs:
        """An engine that can be made to answer, and its logprobs where it has to be sure."""
        return Needs(logprobs=int(self.confidence > 0))

    async def choose(self, history: History, ask: Ask) -> Chosen:
        """Force the answers and compare them; where no answer comes, nothing agrees."""
        cheap, dear = FIXED[self.cheap], fixed_of(self.then)
        trials = await ask.trials(self.engine or history.small, num=self.num)
        answer, most = most_frequent(trials)
        share = reading("agreement", most / self.num, f"share of {self.num}")
        assert share.value is not None
        read = f"{most} of {self.num} answers agree" if answer else "no answer came"
        chosen = verdict(cheap, dear, share, value=share.value, threshold=self.threshold, read=read)
        if chosen.mode is dear or not self.confidence:
            return chosen
        sure = confidence_in(answer, trials)
        assert sure.value is not None
        read = f"{read} with confidence {sure.value:.3g}"
        return verdict(cheap, dear, share, sure, value=sure.value, threshold=self.confidence, read=read)
