"""Choose the behaviors that a prompt gets: rankings are fused, few enough are taken, and their order is that of ids.

The order keeps prompts alike: two questions that recall the same behaviors share the longest prefix, so what an engine
has cached of one serves the other.

How many are enough is read off their scores: a few where a few stand out, many where all are alike. Ranks say nothing
about that, and fused ones are nearly flat, so scores here are cosines, or BM25 where nothing is known of meaning.

Source: reciprocal rank fusion, Cormack et al., SIGIR 2009, with their constant; adaptive document retrieval,
arXiv:1808.06528: the best are taken until their part of the score passes a threshold. Differs: the part is of the
score of as many as may be taken, not of all that were ranked, whose long tail would drown the best; no regression on
features of the scores.
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
    ranked: Sequence[tuple[Behavior, float]],
    *,
    most: int,
    tokens: int,
    count: Callable[[Behavior], int],
    mass: float = 1.0,
    least: float = 0.0,
) -> Chosen:
    """Take behaviors in order until there are `most`, the next would pass `tokens`, or those taken have enough.

    Enough is `mass`, in (0, 1], of the score of the first `most`; 1 takes them all. What scores less than `least` is
    passed over, so nothing is taken where everything does, or, with a `mass` below 1, where nothing scores above 0.
    `count` says how many tokens a behavior's line has.
    """
    worthy = [(behavior, max(0.0, score)) for behavior, score in ranked if score >= least]
    enough = mass * sum(score for _, score in worthy[:most])
    taken: list[Behavior] = []
    used, have, left = 0, 0.0, ""
    for behavior, score in worthy:
        size = count(behavior)
        if len(taken) >= most:
            left = "count"
        elif mass < 1 and have >= enough:
            left = "score"
        elif used + size > tokens:
            left = "tokens"
        if left:
            break
        taken.append(behavior)
        used, have = used + size, have + score
    left = left or ("score" if len(worthy) < len(ranked) else "")
    return Chosen(tuple(sorted(taken, key=lambda each: each.id)), used, left)
