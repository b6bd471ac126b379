"""What a training is told, with the published numbers as defaults, and the learning rate that follows.

Source: Arbitrage, arXiv:2512.05033, section on training (cross entropy on the final token, AdamW, linear warm-up and
decay, batch 1024, learning rate 1e-5, 3 epochs, balanced by downsampling, begun from the reward model
Qwen2.5-Math-1.5B-Instruct-PRM-0.2). Differs: any checkpoint is taken; the head is `sequence`, one row of logits for a
text, unless told otherwise (there a token classifier, here `token`); the share of the warm-up, the weight decay and the
clipping are ours (there unsaid); a cap of updates may stand in for whole epochs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil

__all__ = ["HEADS", "Recipe"]

HEADS = ("sequence", "token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that shapes the weights besides the data and the first checkpoint."""

    head: str = "sequence"
    """`sequence`, one row of logits for a text, or `token`, one for each of its tokens, the last of which is read."""
    balance: bool = True
    """Downsample the more frequent label until both are equally frequent."""
    epochs: int = 3
    batch: int = 1024
    """Examples of one update."""
    rate: float = 1e-5
    """The highest learning rate."""
    warm_up: float = 0.1
    """Share of all updates in which the rate rises to it; then it falls to nothing."""
    decay: float = 0.01
    """Weight decay of AdamW."""
    clip: float = 1.0
    """Longest gradient."""
    updates: int | None = None
    """Train this many updates instead of `epochs`."""
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "head": self.head in HEADS,
            "epochs": self.epochs >= 1,
            "batch": self.batch >= 1,
            "rate": self.rate > 0,
            "warm_up": 0 <= self.warm_up < 1,
            "updates": self.updates is None or self.updates >= 1,
        }
        for name, is_good in checks.items():
            if not is_good:
                raise SystemExit(f"{name} = {getattr(self, name)!r} is out of range")

    def num_updates(self, examples: int) -> int:
        """Return how many updates there will be in all."""
        return self.updates or self.epochs * ceil(examples / self.batch)

    def rate_at(self, update: int, updates: int) -> float:
        """Return the learning rate of one update, counted from 0, of `updates`."""
        rising = ceil(self.warm_up * updates)
        if update < rising:
            return self.rate * (update + 1) / rising
        return self.rate * (updates - update) / max(1, updates - rising)

    def differs_from(self, other: dict[str, object]) -> str:
        """Return the names of the options in which a stored recipe is another one; empty if there are none."""
        return ", ".join(name for name, value in asdict(self).items() if other.get(name) != value)
