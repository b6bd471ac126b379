"""Each step goes to the large engine with a fixed chance: the control every routing claim has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from orchestrator.decisions import Plan
from orchestrator.doors import Needs
from orchestrator.options import check_range
from orchestrator.types import History

__all__ = ["Random", "uniform"]


@dataclass(frozen=True, kw_only=True)
class Random:
    """Let the large engine write a step with probability `large_share`, drawn anew for every step.

    The draw is a function of the run's seed, the policy's seed and the step's index: a resumed or
    repeated run makes the same choices. A share of 0 is small-only, a share of 1 large-only.
    """

    needs = Needs(engines=2, steps=False)
    large_share: float = 0.5
    """In [0, 1]."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("random", self, large_share="[0, 1]")

    def before_step(self, history: History) -> Plan:
        """Draw who writes."""
        drawn = uniform(history.seed, self.seed, len(history.steps))
        is_large = drawn < self.large_share
        engine = history.large if is_large else history.small
        return Plan(engine=engine, reason=f"drew {drawn:.3f} {'<' if is_large else '>='} share {self.large_share:g}")


def uniform(*parts: int | str) -> float:
    """Return a number in [0, 1) that follows from `parts`, as if drawn."""
    named = ":".join(map(str, parts)).encode()
    return int.from_bytes(blake2b(named, digest_size=7).digest()) / 2**56
