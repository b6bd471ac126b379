"""When do two instructions say the same?  When they share most of their words, whatever their order and case."""

from __future__ import annotations

import re
from collections.abc import Set

__all__ = ["NEAR", "alike", "near", "words_in"]

NEAR = 0.85
"""Share of words that two instructions have in common from which on they say the same."""

_WORD = re.compile(r"[^\W_]+")


def words_in(text: str) -> list[str]:
    """Return the words of a text in small letters, in order."""
    return _WORD.findall(text.casefold())


def alike(one: Set[str], other: Set[str]) -> float:
    """Return how much two sets of words have in common, in [0, 1]; 1 for two empty ones (Jaccard)."""
    return len(one & other) / len(one | other) if one | other else 1.0


def near(one: str, other: str) -> float:
    """Return how much of their words two texts have in common, in [0, 1]; 1 for two without any."""
    return alike({*words_in(one)}, {*words_in(other)})
