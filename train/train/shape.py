"""The numbers that fix a decoder; no torch is needed to read or convert one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Shape"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The numbers that fix a decoder."""

    vocab: int
    width: int
    layers: int
    heads: int
    hidden: int
    """Width of the SwiGLU layer."""
    context: int = 2048
    theta: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def num_weights(self) -> int:
        """Weights that take part in one token's matrix products, the output head in, embeddings out."""
        layer = 4 * self.width**2 + 3 * self.width * self.hidden
        return self.layers * layer + self.vocab * self.width

    def flops_per_token(self) -> int:
        """Floating point operations of one decoded token, attention over the context left out."""
        return 2 * self.num_weights()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
