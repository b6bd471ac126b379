"""Ask an engine how the task should be answered; where it is not sure of that, think.

Source: A2FM: one engine sorts a query into instant, reasoning or tool-calling, once, and then follows that mode.
Differs: the engine there is trained to it and writes its class first; here any engine is asked in a prompt of its own
and chooses a word, and its probability among the words is held against a threshold (ours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.doors import Ask, Needs
from orchestrator.modes.base import Chosen
from orchestrator.modes.fixed import AGENTIC, FIXED, fixed_of, thinking_of
from orchestrator.modes.gate import THRESHOLDS, reading, verdict
from orchestrator.options import check_choice, check_range, check_texts
from orchestrator.types import History

__all__ = ["SelfClassified"]

_INSTANT = "instant if you know the answer at once"
_THINK = "think if it takes reasoning"
_TOOLS = "tools if tools have to be called"


@dataclass(frozen=True, kw_only=True)
class SelfClassified:
    """Answer as the engine itself says the task should be, if its word has at least `threshold` of the probability.

    A SignalUnavailable comes through where the engine answers with none of the words, or shows no logprobs.
    """

    threshold: float = 0.7
    """In [0, 1.01]: share of the chosen word among the words."""
    tools: bool = False
    """Whether it may choose tools; only for pipelines that have any."""
    engine: str | None = None
    """Who is asked; None for the cheapest, which writes first under most routers."""
    cheap: Literal["instant", "no_think"] = "instant"
    """How a task is answered that it calls instant."""
    then: str = "think"
    """How one is that needs thinking, or that it is not sure of: a fixed mode, budget and all."""

    def __post_init__(self) -> None:
        check_range("self-classified", self, threshold=THRESHOLDS)
        check_choice("self-classified", self, cheap=("instant", "no_think"))
        check_texts("self-classified", self, engine="")
        thinking_of("self-classified", self.then)

    @property
    def needs(self) -> Needs:
        """An engine that says how likely a word is."""
        return Needs(logprobs=1)

    async def choose(self, history: History, ask: Ask) -> Chosen:
        """Ask, and think unless the answer is sure."""
        then = fixed_of(self.then)
        modes = {"instant": FIXED[self.cheap], "think": then} | ({"tools": AGENTIC} if self.tools else {})
        described = [_INSTANT, _THINK, *([_TOOLS] if self.tools else [])]
        question = f"Do not solve this task. How should it be answered? Reply with one word: {', '.join(described)}."
        choice = await ask.choose(self.engine or history.small, question, tuple(modes))
        share = reading("self-classified", choice.share, f"share of {choice.word}")
        assert share.value is not None
        read = f"{choice.word} {share.value:.3g}"
        return verdict(modes[choice.word], then, share, value=share.value, threshold=self.threshold, read=read)
