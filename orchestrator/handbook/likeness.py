"""When do two instructions say the same?  When they share most of their words, or when their vectors point one way.

Source: ACE, arXiv:2510.04618, whose code merges from a cosine of 0.90 on. Differs: the words are compared first, and
alone where nothing is embedded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from math import hypot

__all__ = ["NEAR", "SAME_MEANING", "alike", "cosine", "words_in"]

NEAR = 0.85
"""Share of words that two instructions have in common from which on they say the same."""
SAME_MEANING = 0.90
"""Cosine of two vectors from which on they say the same."""

_WORD = re.compile(r"[^\W_]+")


def words_in(text: str) -> list[str]:
    """Return the words of a text in small letters, in order."""
    return _WORD.findall(text.casefold())


def alike(one: Set[str], other: Set[str]) -> float:
    """Return how much two sets of words have in common, in [0, 1]; 1 for two empty ones (Jaccard)."""
    return len(one & other) / len(one | other) if one | other else 1.0


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of two vectors of one length, in [-1, 1]; 0 where one of them is no direction."""
    lengths = hypot(*one) * hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0
