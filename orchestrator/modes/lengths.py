"""Think as long as it took, for the most part, to answer similar tasks right.

The budget is a quantile of the lengths of thoughts that led to right answers, times a slack. After wrong answers it is
widened, a step for each in a row, and a right one takes it back.

Source: the length rules of four ways to train, used as budgets: PALU (a quantile of the lengths of right answers),
HAPO (the shortest of them: `quantile=0`), DOT (cut the extreme tail only: the default), GRPO-lambda and CEEH (loosen
while answers are wrong). Differs: nothing is trained; the lengths are those of thoughts, of earlier runs, whichever
budget they had; all numbers below are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

import numpy as np

from orchestrator.doors import Ask
from orchestrator.modes.base import Chosen
from orchestrator.modes.fixed import THINK, budgeted
from orchestrator.modes.similar import SIMILAR, Kind, Similar, kind_of, lengths_of, pack, unpack
from orchestrator.options import check_choice, check_range, check_whole
from orchestrator.types import History, Outcome, Signal, question_of

__all__ = ["Lengths"]

WIDEST = 8
"""A budget is widened at most this often in a row."""
_MOST = 1 << 30
"""Tokens; no context is as long."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Let a task be thought about for as long as most right answers to similar ones took.

    It learns from rewards: without them there is never a budget.
    """

    quantile: float = 0.95
    """In [0, 1], of the lengths of right answers' thoughts; between two of them it lies on the line from one to the
    other. 0 is the shortest, 1 the longest."""
    slack: float = 1.25
    """What the quantile is multiplied by; in (0, 100]. Below 1 budgets shrink from run to run."""
    widen: float = 2.0
    """What the budget is multiplied by for each wrong answer in a row; in [1, 10]."""
    similar: Similar = "length"
    """Which tasks are alike: see modes.similar."""
    least: int = 4
    """Right answers that a quantile needs; with fewer there is no budget."""
    right: float = 1.0
    """Reward, in (0, 1], from which an answer counts as right."""

    def __post_init__(self) -> None:
        check_choice("lengths", self, similar=SIMILAR)
        check_range("lengths", self, quantile="[0, 1]", slack="(0, 100]", widen="[1, 10]", right="(0, 1]")
        check_whole("lengths", self, least=1)

    async def choose(self, history: History, ask: Ask) -> Chosen:
        """Give the task its budget; without enough right answers it has none, and the reason says so."""
        kind = kind_of(question_of(history.task.messages), self.similar)
        known = unpack(history.lengths).get(kind, Kind())
        number = len(known.lengths)
        chosen = partial(Chosen, threshold=self.least, margin=number - self.least)
        if number < self.least:
            return chosen(THINK, f"no budget: {number} of {self.least} right answers ({kind})")
        usual = float(np.quantile(known.lengths, self.quantile))
        wider = self.widen ** min(known.failures, WIDEST)
        budget = max(1, min(_MOST, ceil(usual * self.slack * wider)))
        reason = (
            f"{self.slack:g} x the {self.quantile:g} quantile of {number} right answers, {usual:.0f} tokens ({kind})"
        )
        if known.failures:
            reason += f", x {wider:g} after {known.failures} wrong in a row"
        signals = (
            Signal(name="quantile_length", value=None, raw=usual, unit="tokens"),
            Signal(name="failures", value=None, raw=float(known.failures), unit="wrong answers in a row"),
        )
        return chosen(budgeted(THINK, budget), reason, signals)

    def usual(self, history: History) -> float | None:
        """Return the median length of thoughts that led to right answers to similar tasks, in tokens; None where there
        are too few."""
        lengths = lengths_of(history, self.similar)
        return float(np.median(lengths)) if len(lengths) >= self.least else None

    def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Remember the length of a right answer's thought, or that the answer was wrong.

        A run without a reward teaches nothing, nor does one that did not think.
        """
        if outcome.reward is None or not outcome.thought_tokens:
            return state
        kinds, kind = unpack(state), kind_of(outcome.question, self.similar)
        known = kinds.setdefault(kind, Kind())
        if outcome.reward >= self.right:
            known.add(outcome.thought_tokens)
            known.failures = 0
        else:
            known.failures += 1
        return pack(kinds, kind)
