"""Tasks are cut into splits by what they are: no task is ever in two, whatever seed drew it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType

__all__ = ["SPLITS", "split_of", "split_of_number"]

SPLITS: Mapping[str, range] = MappingProxyType(
    {"train": range(0, 90), "calibration": range(90, 95), "report": range(95, 100)}
)
"""Buckets of a hundred: what models learn from, what policies are fitted on, what is reported."""


def split_of(text: str) -> str:
    """Return the split that owns this text, whatever its blanks."""
    return split_of_number(int.from_bytes(sha256("".join(text.split()).encode()).digest()[:8], "big"))


def split_of_number(number: int) -> str:
    """Return the split that owns what has this number, evenly spread, for a name."""
    return next(name for name, buckets in SPLITS.items() if number % 100 in buckets)
