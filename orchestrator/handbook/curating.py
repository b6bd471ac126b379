"""Keep a handbook small: what harms is retired, what says the same is merged, and what is left over a limit goes.

Nothing is asked of an engine. Every behavior is touched once at most, whatever is alike: of a group that says the same
the one that helped most often stays, and has the counters of all.

Over the limit those go that helped least for what they harmed. Of those that are worth the same the older goes, and of
the places one in ten is for the newest that were never used: a handbook whose every place is taken by what has helped
once would learn nothing any more, and one that keeps everything new would forget what helps.

Source: grow-and-refine of ACE, arXiv:2510.04618; prefix filtering finds the pairs by words (S. Chaudhuri et al., 2006).
Differs: words are compared as well as vectors; there an item can join two groups and be counted twice, and nothing is
pruned or capped. How much of a handbook a prompt gets is limited where it is recalled, not here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from orchestrator.behaviors import Behavior, Merge, Retire
from orchestrator.handbook.likeness import NEAR, SAME_MEANING, alike, words_in
from orchestrator.handbook.worth import hopeless, worth

__all__ = ["curated"]

_FOR_NEW = 10
"""One place in so many is for what was never used."""
_BLOCK = 64
"""Vectors that are compared with all before them at once."""


def curated(
    behaviors: Sequence[Behavior], *, most: int, min_uses: int = 8, vectors: Mapping[int, Any] | None = None
) -> list[Merge | Retire]:
    """Return what is to be done to active `behaviors` so that at most `most` are left, none of them hopeless and no two
    of them near.

    `min_uses` is how often one has to have been used before it is judged. `vectors` are numpy's, of length 1, by id;
    what has none is compared by its words alone.
    """
    retired = {each.id for each in hopeless(behaviors, min_uses=min_uses)}
    left = [each for each in behaviors if each.is_active and each.id not in retired]
    deltas: list[Merge | Retire] = [Retire(id) for id in sorted(retired)]
    merged: list[Behavior] = []
    for group in _groups(left, vectors or {}):
        stays = max(group, key=lambda each: (worth(each), -each.id))
        gone = tuple(sorted(each.id for each in group if each is not stays))
        deltas += [Merge(stays.id, gone)] if gone else []
        merged.append(_joined(stays, group))
    return [*deltas, *(Retire(each.id) for each in _over(merged, most))]


def _joined(stays: Behavior, group: Sequence[Behavior]) -> Behavior:
    """Return what stays of a group, with the counters of all."""
    counted = {name: sum(getattr(each, name) for each in group) for name in ("helpful", "harmful", "neutral")}
    return replace(stays, **counted)


def _over(behaviors: Sequence[Behavior], most: int) -> list[Behavior]:
    """Return what goes of the behaviors so that `most` are left, what is worth least first."""
    unused = sorted((each for each in behaviors if not each.uses), key=lambda each: -each.id)
    new = {each.id for each in unused[: most // _FOR_NEW]}
    by_worth = sorted(behaviors, key=lambda each: (each.id in new, worth(each), each.id))
    return by_worth[: max(0, len(behaviors) - most)]


def _groups(behaviors: Sequence[Behavior], vectors: Mapping[int, Any]) -> list[list[Behavior]]:
    """Return groups of behaviors that say what their first one says, each behavior in one group."""
    sides: dict[str, list[Behavior]] = {}
    for each in behaviors:
        sides.setdefault(each.polarity, []).append(each)
    groups: dict[int, list[Behavior]] = {}
    for side in sides.values():
        by_words, by_meaning = _ByWords(side), _ByMeaning(side, vectors)
        for each in side:
            first = by_words.first(each) or by_meaning.first(each)
            if first is None:
                groups[each.id] = [each]
                by_words.add(each)
                by_meaning.add(each)
            else:
                groups[first.id].append(each)
    return list(groups.values())


class _ByWords:
    """Finds the first of some behaviors that has nearly the same words."""

    def __init__(self, behaviors: Sequence[Behavior]) -> None:
        self._words = {each.id: {*words_in(each.instruction)} for each in behaviors}
        self._rarity = Counter(word for some in self._words.values() for word in some)
        self._known: dict[str, list[Behavior]] = {}

    def first(self, behavior: Behavior) -> Behavior | None:
        own = self._words[behavior.id]
        return next((each for each in self._sharing(own) if alike(own, self._words[each.id]) >= NEAR), None)

    def add(self, behavior: Behavior) -> None:
        for word in self._prefix(self._words[behavior.id]):
            self._known.setdefault(word, []).append(behavior)

    def _prefix(self, own: set[str]) -> list[str]:
        """Return the rarest words of a text: another that is near it shares at least one of them."""
        ordered = sorted(own, key=lambda word: (self._rarity[word], word))
        return ordered[: len(ordered) - ceil(NEAR * len(ordered)) + 1]

    def _sharing(self, own: set[str]) -> Iterator[Behavior]:
        seen: set[int] = set()
        for word in self._prefix(own):
            for each in self._known.get(word, ()):
                if each.id not in seen:
                    seen.add(each.id)
                    yield each


class _ByMeaning:
    """Finds the first of some behaviors that has nearly the same vector; they are looked for in order."""

    def __init__(self, behaviors: Sequence[Behavior], vectors: Mapping[int, Any]) -> None:
        from numpy import stack, zeros

        self._known = [each for each in behaviors if each.id in vectors]
        self._places = {each.id: place for place, each in enumerate(self._known)}
        self._rows: Any = stack([vectors[each.id] for each in self._known]) if self._known else None
        self._stands: Any = zeros(len(self._known), dtype=bool)
        self._near: Any = None
        self._start = -1

    def first(self, behavior: Behavior) -> Behavior | None:
        place = self._places.get(behavior.id)
        if place is None:
            return None
        start = place - place % _BLOCK
        if start != self._start:
            rows = self._rows[: start + _BLOCK]
            self._start, self._near = start, rows[start:] @ rows.T >= SAME_MEANING
        near = self._near[place - start] & self._stands[: start + _BLOCK]
        return self._known[int(near.argmax())] if near.any() else None

    def add(self, behavior: Behavior) -> None:
        if behavior.id in self._places:
            self._stands[self._places[behavior.id]] = True
