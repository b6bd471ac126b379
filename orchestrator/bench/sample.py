"""What one policy made of one task: a line of samples.jsonl, all that a report is computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.bench.cost import Use

__all__ = ["LOOP", "Key", "Sample"]

Key = tuple[str, int, str]
"""Policy, seed and task."""
LOOP = 3
"""Calls in a row, the same and answered the same, that are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run."""

    policy: str
    seed: int
    task: str
    run_id: str
    status: str
    answer: str | None
    gold: str | None
    score: float
    """In [0, 1]; 0 where the scorer failed."""
    score_error: str
    """What the scorer raised, or empty."""
    steps: int
    """Kept steps that an engine wrote; what tools answered is none."""
    large_steps: int
    """Kept steps that the largest engine wrote."""
    escalations: int
    """Drafts that the router gave to another engine."""
    seconds: float
    """Wall time of the run, beside as many others as the comparison ran at once."""
    uses: Mapping[str, Use]
    """By engine."""
    purposes: Mapping[str, int]
    """Output tokens by `engine/purpose/fate`."""
    ratings: int = 0
    """Signals that the router asked for."""
    missing: Sequence[str] = ()
    """Why, for each of them that could not be had."""
    rated: Sequence[float] = ()
    """The different values among them, ascending."""
    share: float | None = None
    """Of steps, that a random control was to give to the large engine."""
    compared: Sequence[tuple[bool, float | None, float | None]] = ()
    """Of each step that was looked at: whether the largest engine's stands, its score, and that of the other
    engine's step; None where nobody could score it. `uses` are without what looking cost, `purposes` with it."""
    error: str = ""
    returns: int = 0
    """Times that an engine wrote on behind a larger one."""
    events: Mapping[str, int] = field(default_factory=dict)
    """What monitors noticed, how often, by kind."""
    handbook: Mapping[str, int] = field(default_factory=dict)
    """What a handbook had to do with it, see bench/online.py; empty where there was none."""
    in_a_row: int | None = None
    """Most calls in a row that were the same and answered the same; 0 without a call, None where nobody counted."""

    @property
    def key(self) -> Key:
        """What it is a sample of."""
        return self.policy, self.seed, self.task

    @property
    def is_right(self) -> bool:
        """Only a full score counts as right."""
        return self.score >= 1

    @property
    def is_healthy(self) -> bool:
        """It ended right and was at no time in a loop, as far as anybody counted."""
        return self.is_right and self.in_a_row is not None and self.in_a_row < LOOP

    @property
    def decode(self) -> int:
        """Output tokens of all engines."""
        return sum(use.decode for use in self.uses.values())

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Sample:
        """Return the sample that `to_json` gave."""
        uses = {name: Use(**use) for name, use in line["uses"].items()}
        lists = {name: tuple(line.get(name, ())) for name in ("missing", "rated")}
        compared = tuple((is_large, kept, other) for is_large, kept, other in line.get("compared", ()))
        return cls(**{**line, **lists, "uses": uses, "compared": compared})
