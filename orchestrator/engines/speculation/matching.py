"""Find where a row's end stood before, and what followed there most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.engines.speculation.rows import Ids

__all__ = ["END", "Places", "after_pair", "longest", "voted"]

Places = NDArray[np.intp]
"""Positions in an array of tokens, each that of the token which follows a match."""

END = -1
"""Parts one sequence from the next; no token has this id."""
LEAST = 2
"""A single token that stood before says too little to guess on."""


def after_pair(ids: Ids, pair: Ids) -> Places:
    """Return where the two tokens of `pair` are followed by a third one."""
    return np.flatnonzero((ids[:-2] == pair[0]) & (ids[1:-1] == pair[1])) + LEAST


def longest(ids: Ids, places: Places, context: Ids, deepest: int) -> tuple[Places, int]:
    """Return those of `places` whose tokens before agree longest with the end of `context`, and how long, at most
    `deepest`. All of `places` agree on the last two."""
    depth = min(deepest, len(context))
    back = np.arange(1, depth + 1)
    index = places[:, None] - back
    agree = (np.where(index >= 0, ids[np.maximum(index, 0)], END) == context[len(context) - back]).cumprod(axis=1)
    lengths = agree.sum(axis=1)
    most = int(lengths.max(initial=0))
    return places[lengths == most], most


def voted(ids: Ids, places: Places, limit: int, least_share: float) -> list[int]:
    """Return the continuation that most of `places` go on with, token by token, while at least `least_share` of all do.

    Among equally frequent ones the later place wins.
    """
    draft: list[int] = []
    number, alive = len(places), [int(place) for place in places]
    while alive and len(draft) < limit:
        following = [int(ids[place]) if place < len(ids) else END for place in alive]
        token, count = most_frequent(following)
        if token == END or count < least_share * number:
            break
        draft.append(token)
        alive = [place + 1 for place, each in zip(alive, following, strict=True) if each == token]
    return draft


def most_frequent(tokens: Sequence[int]) -> tuple[int, int]:
    """Return the most frequent token and its count; the one that stands last among equals. (END, 0) for none."""
    counts = Counter(tokens)
    counts.pop(END, None)
    last = {token: place for place, token in enumerate(tokens)}
    return max(
        ((token, count) for token, count in counts.items()), key=lambda each: (each[1], last[each[0]]), default=(END, 0)
    )
