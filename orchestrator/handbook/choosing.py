"""Choose the behaviors that a prompt gets: what words and meaning say is mixed, few enough are taken, in order of ids.

The order keeps prompts alike: two questions that recall the same behaviors share the longest prefix, so what an engine
has cached of one serves the other.

How many are enough is read off their scores: a few where a few stand out, many where all are alike. A score is a cosine
with the question, or BM25 where nothing is known of meaning.

Source: Bruch et al., arXiv:2210.11934: a weighted sum of scores finds more than fused ranks do, which take any first
place for a good one. Where a question shares no telling word with what it needs, as questions do with general advice,
the first by words is there for an "and". Differs: a cosine is taken as it is, and words weigh a tenth of it. And
adaptive document retrieval, arXiv:1808.06528: the best are taken until their part of the score passes a threshold.
Differs: the part is of the score of as many as may be taken, not of all that were ranked, whose long tail would drown
the best; no regression on features of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """As `count` says."""
    left: str
    """Why others were not taken: `tokens` where one was passed over as too long, else `count` or `score`; empty where
    all were taken."""


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
    ranked: Sequence[tuple[Behavior, float]],
    *,
    most: int,
    tokens: int,
    count: Callable[[Behavior], int],
    mass: float = 1.0,
    least: float = 0.0,
) -> Chosen:
    """Take behaviors in order until there are `most`, or those taken have enough. One that would pass `tokens` is
    passed over: a shorter one behind it may fit.

    Enough is `mass`, in (0, 1], of the score of the first `most`; 1 takes them all. What scores less than `least` is
    passed over, so nothing is taken where everything does, or, with a `mass` below 1, where nothing scores above 0.
    `count` says how many tokens a behavior's line has.
    """
    worthy = [(behavior, max(0.0, score)) for behavior, score in ranked if score >= least]
    enough = mass * sum(score for _, score in worthy[:most])
    taken: list[Behavior] = []
    used, have, left = 0, 0.0, ""
    for behavior, score in worthy:
        if len(taken) >= most or (mass < 1 and have >= enough):
            left = left or ("count" if len(taken) >= most else "score")
            break
        if used + (size := count(behavior)) > tokens:
            left = "tokens"
            continue
        taken.append(behavior)
        used, have = used + size, have + score
    left = left or ("score" if len(worthy) < len(ranked) else "")
    return Chosen(tuple(sorted(taken, key=lambda each: each.id)), used, left)
