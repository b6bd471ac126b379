"""Choose the behaviors that a prompt gets: what words and meaning say is mixed, few enough are taken, in order of ids.

The order keeps prompts alike: two questions that recall the same behaviors share the longest prefix, so what an engine
has cached of one serves the other.

Source: Bruch et al., arXiv:2210.11934: a weighted sum of scores finds more than fused ranks do, which take any first
place for a good one. Where a question shares no telling word with what it needs, as questions do with general advice,
the first by words is there for an "and". Differs: a cosine is taken as it is, and words weigh a tenth of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.behaviors import Behavior

__all__ = ["Chosen", "chosen", "mixed"]

_WORDS = 0.1
"""What the best match by words adds to a cosine."""


class Chosen(NamedTuple):
    """What a prompt gets."""

    behaviors: tuple[Behavior, ...]
    """By id."""
    num_tokens: int
    """Of their lines."""
    left: str
    """Why the next one was not taken: `count`, `tokens`, `score`, or empty where there was none."""


def mixed(words: Sequence[tuple[int, float]], cosines: Mapping[int, float]) -> list[int]:
    """Return ids, best first, from scores by words, best first, and cosines with a question; equal ones by id.

    What has no cosine, because it is not embedded, counts as if it had the mean one.
    """
    mean = sum(cosines.values()) / len(cosines) if cosines else 0.0
    scores = {id: cosines.get(id, mean) for id in (*cosines, *(id for id, _ in words))}
    for id, score in words:
        scores[id] += _WORDS * score / words[0][1]
    return sorted(scores, key=lambda id: (-scores[id], id))


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
