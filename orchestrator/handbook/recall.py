"""How behaviors are recalled for a task: how many, of what kind, and in which runs for comparison none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from orchestrator.behaviors import Behavior
from orchestrator.options import check_lists, check_range, check_whole

__all__ = ["Recall", "Recalled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What a run is shown of a handbook. Raises UserError for options that mean nothing."""

    limit: int = 8
    """Behaviors, at most."""
    tokens: int = 512
    """Tokens that their lines may have, counted by the largest engine."""
    share: float = 0.0
    """A behavior is left out whose score is less than this share of the best one's, in [0, 1]; 0 takes `limit`."""
    sections: Sequence[str] = ()
    """The topics that are looked in; all of them if none is named."""
    withheld: float = 0.0
    """Share of the runs, drawn by their seeds, that are shown nothing: what the others are held against."""
    own: bool = False
    """Whether a question may be answered with what was learned from that very question."""

    def __post_init__(self) -> None:
        check_whole("recall", self, limit=1, tokens=1)
        check_range("recall", self, share="[0, 1]", withheld="[0, 1]")
        check_lists("recall", self, sections="topics")

    def withholds(self, seed: int) -> bool:
        """Return whether the run of this seed is one that is shown nothing."""
        return Random(f"recall/{seed}").random() < self.withheld


class Recalled(NamedTuple):
    """What a handbook has for a task."""

    file: str
    """Where the handbook is."""
    handbook: str
    """Its name in that file."""
    head: int
    """The change that it stood on."""
    by: str
    """`words`, `words and meaning`, with how many are not embedded yet, or `words`, with why not by meaning."""
    behaviors: tuple[Behavior, ...]
    """In the order they are shown; where nothing is shown, those that would have been."""
    num_tokens: int
    left: str
    """See choosing.Chosen."""
    is_withheld: bool

    @property
    def shown(self) -> tuple[Behavior, ...]:
        """What the engines read."""
        return () if self.is_withheld else self.behaviors
