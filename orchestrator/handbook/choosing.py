"""Choose the behaviors that a prompt gets: rankings are fused, few enough are taken, and their order is that of ids.

The order keeps prompts alike: two questions that recall the same behaviors share the longest prefix, so what an engine
has cached of one serves the other.

Source: reciprocal rank fusion, Cormack et al., SIGIR 2009, with their constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from orchestrator.behaviors import Behavior

__all__ = ["Chosen", "chosen", "fused"]

_RANK = 60
"""How little the first places of a ranking differ."""


class Chosen(NamedTuple):
    """What a prompt gets."""

    behaviors: tuple[Behavior, ...]
    """By id."""
    num_tokens: int
    """Of their lines."""
    left: str
    """Why the next one was not taken: `count`, `tokens`, `score`, or empty where there was none."""


def fused(rankings: Iterable[Sequence[int]]) -> list[tuple[int, float]]:
    """Return ids and scores, best first, from rankings of ids, best first; equal scores by id."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for place, id in enumerate(ranking):
            scores[id] = scores.get(id, 0.0) + 1 / (_RANK + 1 + place)
    return sorted(scores.items(), key=lambda each: (-each[1], each[0]))


def chosen(
    ranked: Iterable[tuple[Behavior, float]],
    *,
    most: int,
    tokens: int,
    count: Callable[[Behavior], int],
    share: float = 0.0,
) -> Chosen:
    """Take behaviors, best first, until there are `most`, the next would pass `tokens`, or its score falls below
    `share` of the best one's, in [0, 1]; 0 takes whatever its score.

    `count` says how many tokens a behavior's line has.
    """
    taken: list[Behavior] = []
    used, best, left = 0, None, ""
    for behavior, score in ranked:
        best = score if best is None else best
        size = count(behavior)
        if len(taken) >= most:
            left = "count"
        elif score < share * best:
            left = "score"
        elif used + size > tokens:
            left = "tokens"
        if left:
            break
        taken.append(behavior)
        used += size
    return Chosen(tuple(sorted(taken, key=lambda each: each.id)), used, left)
