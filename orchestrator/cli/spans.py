"""From where to where: `0.5..2` as people type it."""

from __future__ import annotations

from math import inf

__all__ = ["span"]


def span(written: str) -> tuple[float, float]:
    """Return both ends of `LOW..HIGH`; one that is left out is infinite, and both may be equal.

    Raises ValueError for any other text, for two ends left out, and where the lower one is not first.
    """
    low, dots, high = written.partition("..")
    if not dots or not (low.strip() or high.strip()):
        raise ValueError(f"{written!r:.40} is no span")
    ends = float(low) if low.strip() else -inf, float(high) if high.strip() else inf
    if not ends[0] <= ends[1]:  # as where one is no number
        raise ValueError(f"{written!r:.40} is no span: its lower end is first")
    return ends
