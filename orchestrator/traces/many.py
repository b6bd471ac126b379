"""What does a policy make of many stored runs together?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from json import loads
from typing import TYPE_CHECKING

from orchestrator.memory.base import StoredRun
from orchestrator.runtime.displayed import Displayed
from orchestrator.runtime.paper import as_text
from orchestrator.runtime.tasks import is_correct
from orchestrator.traces.replay import Replayed

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Together"]


@dataclass(slots=True, kw_only=True)
class Together(Displayed):
    """Sums over replays; a notebook shows them."""

    runs: int = 0
    unchanged: int = 0
    """Runs in which nothing parts."""
    flipped: int = 0
    """Runs that part by another decision."""
    undecided: int = 0
    """Runs that part by a decision that the record cannot tell about."""
    alike: int = 0
    """Decisions that are made as they were."""
    left: int = 0
    """Decisions that the record cannot tell about, those behind a flip included."""
    reasons: Counter[str] = field(default_factory=Counter)
    """What the record lacks -> in how many runs."""
    output_tokens: Counter[str] = field(default_factory=Counter)
    """By engine, as far as each run is decided."""
    followed: int = 0
    """Runs that went on in a stored tree."""
    known: int = 0
    """Runs whose end is known."""
    graded: int = 0
    """Of these, runs whose task has a gold answer."""
    right: int = 0
    """Of these, runs with the right answer."""
    then: int = 0
    """Of the graded runs, those with the right answer as they ran."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Runs that are in none of these sums, because nobody can decide them again -> why."""

    def add(self, stored: StoredRun, made: Replayed) -> None:
        """Count one replay."""
        self.runs += 1
        self.unchanged += made.parted is None
        self.flipped += made.flips
        self.undecided += made.is_undecided
        self.alike += len(made.alike)
        self.left += made.left
        if made.lacks is not None and not made.lacks.now:
            self.reasons[made.lacks.reason] += 1
        for engine, _, _, entry in made.ledger:
            self.output_tokens[engine] += entry.output_tokens
        gold = loads(stored.run.task)["answer"]
        self.followed += bool(made.path)
        self.known += made.is_known
        if made.is_known and gold is not None:
            self.graded += 1
            self.right += is_correct(made.answer, gold)
            self.then += stored.outcome is not None and is_correct(stored.outcome.answer, gold)

    def drawn(self, width: int) -> Text:
        """Draw it as `orchestrator trace replay --all` prints it."""
        from orchestrator.traces.replay_shown import summary

        return as_text(summary(self), width)
