"""Answer without thinking first, but not where first tries never stand: think at once about such kinds of task.

A kind of task is thought about at once when the last `patience` runs of it all ended in a thought. Every RETRY-th run
of it is a first try all the same, and one that stands opens the kind again.

Source: ours. A first try that is doubted costs its tokens, and results/pocket-1-modes-hard shows that where few stand
no gate, not even an exact check, earns them back. What is remembered is whether first tries stood, not whether they
were right, so that no rewards are needed; a kind that is thought about at once loses no accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.doors import Ask, Needs
from orchestrator.modes.base import Chosen
from orchestrator.modes.first_try import FirstTry
from orchestrator.modes.fixed import NO_THINK, THINK
from orchestrator.modes.similar import SIMILAR, Kind, Similar, kind_of, pack, unpack
from orchestrator.options import check_choice, check_whole
from orchestrator.types import History, Outcome, Signal, Status, question_of

__all__ = ["RETRY", "FirstTryByKind"]

RETRY = 32
"""Runs of a kind that is thought about at once, from one first try to the next."""


@dataclass(frozen=True, kw_only=True)
class FirstTryByKind:
    """Begin with a first try unless tasks of that kind have ended in thoughts all along."""

    gate: str = "written"
    """Of the first try, as its threshold; see FirstTry."""
    threshold: float = 0.9
    patience: int = 8
    """Runs in a row that ended in a thought until no more is tried; at least 1."""
    similar: Similar = "numbers"
    """Which tasks are alike: see modes.similar."""

    def __post_init__(self) -> None:
        check_choice("first-try-by-kind", self, similar=SIMILAR)
        check_whole("first-try-by-kind", self, patience=1)
        _ = self._try

    @property
    def _try(self) -> FirstTry:
        return FirstTry(gate=self.gate, threshold=self.threshold)

    @property
    def needs(self) -> Needs:
        """Those of the first try."""
        return self._try.needs

    async def choose(self, history: History, ask: Ask) -> Chosen:
        """Think at once about a kind whose first tries do not stand; nobody is asked."""
        kind = kind_of(question_of(history.task.messages), self.similar)
        doubted = unpack(history.lengths).get(kind, Kind()).failures
        if not self.skips(doubted):
            return await self._try.choose(history, ask)
        signal = Signal(name="doubted", value=None, raw=float(doubted), unit="thoughts in a row")
        reason = f"no first try: the last {doubted} runs ended in a thought ({kind})"
        return Chosen(THINK, reason, (signal,), self.patience, self.patience - doubted)

    async def reconsider(self, history: History, answer: str | None, ask: Ask) -> Chosen:
        """Do as the first try does, which leaves alone what is thought about."""
        return await self._try.reconsider(history, answer, ask)

    def skips(self, doubted: int) -> bool:
        """Return whether no first try is made after so many runs in a row that ended in a thought."""
        return doubted >= self.patience and (doubted - self.patience + 1) % RETRY != 0

    def after_run(self, outcome: Outcome, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Remember whether the run ended in its first try. One that was cut short teaches nothing, nor does a reward
        that comes late."""
        if outcome.status is not Status.COMPLETED or outcome.is_late or not outcome.mode:
            return state
        kinds, kind = unpack(state), kind_of(outcome.question, self.similar)
        known = kinds.setdefault(kind, Kind())
        known.failures = 0 if outcome.mode == NO_THINK.name else known.failures + 1
        return pack(kinds, kind)
