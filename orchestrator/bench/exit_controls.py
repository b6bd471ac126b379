"""What an exit has to be held against: one that knows the answer, one that guesses, one that asks nobody.

They are monitors like any other, for experiments: the first of them reads the gold answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from orchestrator.doors import Ask, Needs
from orchestrator.monitors.candidates import candidate_in
from orchestrator.monitors.exits import OVERTHINKING, When, is_place, is_thinking
from orchestrator.types import Event, History

__all__ = ["AtRandom", "Knowing", "Stated"]


@dataclass(frozen=True, kw_only=True)
class Knowing:
    """Close the thought behind the first step where a forced answer is the gold one.

    It asks as `trial-answer` does and has the truth in the place of a confidence: what no threshold can do better at
    the same looks. Behind every step, and with its looks for nothing, it is the oracle.
    """

    when: When = "steps"
    every: int = 1
    max_looks: int = 100

    needs = Needs()

    async def look(self, history: History, ask: Ask) -> Event | None:
        """Force an answer and hold it against the gold one. Raises SignalUnavailable."""
        if not is_place(history, "knowing", self):
            return None
        trial, *_ = await ask.trials(history.steps[-1].writer, num=1)
        if trial.answer is None or trial.answer != history.task.answer:
            return None
        return Event(
            OVERTHINKING, f"it would answer {trial.answer[:40]!r}, which is right", concludes=True, answer=trial.answer
        )


@dataclass(frozen=True, kw_only=True)
class Stated:
    """Close the thought behind the first step that states what may be an answer; nobody is asked."""

    def watch(self, history: History) -> Event | None:
        """Read the last step."""
        answer = candidate_in(history.steps[-1].text) if is_thinking(history) else None
        if answer is None:
            return None
        return Event(OVERTHINKING, f"the thought states {answer[:40]!r}", concludes=True)


@dataclass(frozen=True, kw_only=True)
class AtRandom:
    """Close the thought behind any step with the same chance."""

    share: float
    """That chance, in [0, 1]."""

    def watch(self, history: History) -> Event | None:
        """Draw; the run's seed and the step's index decide, so that a resumed run draws the same."""
        if not is_thinking(history):
            return None
        drawn = Random(f"exit {history.seed} {history.steps[-1].index}").random()
        return Event(OVERTHINKING, f"drew {drawn:.3f}", concludes=True) if drawn < self.share else None
