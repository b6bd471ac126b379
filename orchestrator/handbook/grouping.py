"""Groups of behaviors that say the same: each joins the first one that it is near to, by its words or by its meaning.

Likeness is not handed on: a group holds what is near its first member, not what is near something near. Behaviors are
compared in blocks, as products of matrices. Of words such a product says how many two texts have in common at most:
each word is counted in one of a few columns, and what several share makes two texts look nearer, never farther. Those
that look near enough are compared word by word.

Source: none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from orchestrator.behaviors import Behavior
from orchestrator.handbook.likeness import NEAR, SAME_MEANING, alike, words_in

__all__ = ["groups"]

_BLOCK = 256
"""Behaviors that are compared with all before them at once."""
_COLUMNS = 128
"""Of the matrix of words."""
_SURELY = 1e-3
"""What rounding can take off a number of words."""


def groups(
    behaviors: Sequence[Behavior], vectors: Mapping[int, Any], *, new: Collection[int] | None = None
) -> list[list[Behavior]]:
    """Return groups of behaviors that say what their first one says, each behavior in one group.

    `vectors` are numpy's, of length 1, by id; what has none is compared by its words alone. Those that are not `new`,
    if that is given, stand each for itself: they have been compared.
    """
    sides: dict[str, list[Behavior]] = {}
    for each in sorted(behaviors, key=lambda each: new is not None and each.id in new):
        sides.setdefault(each.polarity, []).append(each)
    return list(chain.from_iterable(_of_one_side(side, vectors, new) for side in sides.values()))


def _of_one_side(
    side: Sequence[Behavior], vectors: Mapping[int, Any], new: Collection[int] | None
) -> list[list[Behavior]]:
    """Return the groups of behaviors of one polarity, those that are new behind all others."""
    start = 0 if new is None else sum(each.id not in new for each in side)
    found = {place: [each] for place, each in enumerate(side[:start])}
    by_words, by_meaning = _ByWords(side), _ByMeaning(side, vectors)
    for begin in range(start, len(side), _BLOCK):
        end = min(begin + _BLOCK, len(side))
        for place, *some in zip(range(begin, end), by_words.near(begin, end), by_meaning.near(begin, end), strict=True):
            first = min((other for other in chain(*some) if other < place and other in found), default=place)
            found.setdefault(first, []).append(side[place])
    return list(found.values())


class _ByWords:
    """Finds behaviors that have nearly the same words."""

    def __init__(self, side: Sequence[Behavior]) -> None:
        from numpy import array, float32, zeros

        self._words = [frozenset(words_in(each.instruction)) for each in side]
        self._sizes: Any = array([len(words) for words in self._words], dtype=float32)
        self._counts: Any = zeros((len(side), _COLUMNS), dtype=float32)
        columns: dict[str, int] = {}
        for place, words in enumerate(self._words):
            for word in words:
                self._counts[place, columns.setdefault(word, len(columns)) % _COLUMNS] += 1

    def near(self, begin: int, end: int) -> Iterator[list[int]]:
        """Yield, for each place from `begin` on, places before `end` of those near to it, itself included."""
        shared = self._counts[begin:end] @ self._counts[:end].T
        # a / (m + n - a) >= NEAR, for a words in common of m and n
        least = NEAR / (1 + NEAR) * (self._sizes[begin:end, None] + self._sizes[:end])
        for place, row in enumerate(shared >= least - _SURELY, begin):
            own = self._words[place]
            yield [other for other in row.nonzero()[0].tolist() if alike(own, self._words[other]) >= NEAR]


class _ByMeaning:
    """Finds behaviors that have nearly the same vector."""

    def __init__(self, side: Sequence[Behavior], vectors: Mapping[int, Any]) -> None:
        from numpy import array, stack

        known = [place for place, each in enumerate(side) if each.id in vectors]
        self._places: Any = array(known, dtype=int)
        self._rows: Any = stack([vectors[side[place].id] for place in known]) if known else None

    def near(self, begin: int, end: int) -> Iterator[list[int]]:
        """Yield what `_ByWords.near` does; nothing for what has no vector."""
        first, last = self._places.searchsorted([begin, end])
        found: list[list[int]] = [[] for _ in range(begin, end)]
        if first < last:
            near = self._rows[first:last] @ self._rows[:last].T >= SAME_MEANING
            for place, row in zip(self._places[first:last], near, strict=True):
                found[place - begin] = self._places[:last][row].tolist()
        yield from found
