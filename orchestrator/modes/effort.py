"""Think for a share of what similar tasks were usually thought about.

Source: e1: the user says r in (0, 1], the share of the engine's current average length of thought for the query that
it may use. Differs: the engines were not trained to it, so the share is a hard budget of thought; the average is that
of earlier runs of similar tasks, as the same query is hardly ever seen again.

Only runs in plain `think` teach, right or wrong: a thought that a budget has cut is no length of its own, and a mean
of cut thoughts would shrink from run to run. So a drawn share of the runs, `free`, has no budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from orchestrator.doors import Ask
from orchestrator.modes.base import Chosen
from orchestrator.modes.fixed import THINK, budgeted
from orchestrator.modes.similar import SIMILAR, Kind, Similar, kind_of, lengths_of, pack, unpack
from orchestrator.options import check_choice, check_range, check_whole
from orchestrator.types import History, Outcome, Signal, question_of

__all__ = ["Effort"]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Let a task be thought about for `effort` times the mean length of earlier thoughts about similar ones."""

    effort: float = 1.0
    """In (0, 1]; 1 is the mean."""
    similar: Similar = "length"
    """Which tasks are alike: see modes.similar."""
    least: int = 4
    """Earlier thoughts that a mean needs; with fewer there is no budget."""
    free: float = 0.05
    """Share of runs, in [0, 1], that have no budget and keep the mean up to date."""

    def __post_init__(self) -> None:
        check_choice("effort", self, similar=SIMILAR)
        check_range("effort", self, effort="(0, 1]", free="[0, 1]")
        check_whole("effort", self, least=1)

    async def choose(self, history: History, ask: Ask) -> Chosen:
        """Give the task its budget; without enough earlier thoughts it has none, and the reason says so."""
        question = question_of(history.task.messages)
        kind, lengths = kind_of(question, self.similar), lengths_of(history, self.similar)
        chosen = partial(Chosen, threshold=self.least, margin=len(lengths) - self.least)
        if len(lengths) < self.least:
            return chosen(THINK, f"no budget: {len(lengths)} of {self.least} earlier thoughts ({kind})")
        mean = sum(lengths) / len(lengths)
        signals = (Signal(name="mean_length", value=None, raw=mean, unit="tokens"),)
        if Random(f"effort {history.seed} {question}").random() < self.free:
            return chosen(THINK, f"no budget: one of the {self.free:g} of runs that say what is usual", signals)
        reason = f"{self.effort:g} of the mean of {len(lengths)} earlier thoughts, {mean:.0f} tokens ({kind})"
        return chosen(budgeted(THINK, max(1, round(self.effort * mean))), reason, signals)

    def usual(self, history: History) -> float | None:
        """Return the mean length of earlier thoughts about similar tasks, in tokens; None where there are too few."""
        lengths = lengths_of(history, self.similar)
        return sum(lengths) / len(lengths) if len(lengths) >= self.least else None

    def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Remember how long a thought without a budget was."""
        if outcome.is_late or outcome.mode != THINK.name or not outcome.thought_tokens:
            return state
        kinds, kind = unpack(state), kind_of(outcome.question, self.similar)
        kinds.setdefault(kind, Kind()).add(outcome.thought_tokens)
        return pack(kinds, kind)
