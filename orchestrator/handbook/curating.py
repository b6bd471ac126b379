"""Keep a handbook small: what harms is retired, what says the same is merged, and what is left over a limit goes.

Nothing is asked of an engine. Every behavior is touched once at most, whatever is alike: of a group that says the same
the one that helped most often stays, and has the counters of all.

Source: grow-and-refine of ACE, arXiv:2510.04618, by likeness of words instead of embeddings; prefix filtering finds
the pairs (S. Chaudhuri et al., 2006). Differs: there an item can join two groups and be counted twice, and nothing is
pruned or capped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import ceil

from orchestrator.behaviors import Behavior, Merge, Retire
from orchestrator.handbook.likeness import NEAR, alike, words_in
from orchestrator.handbook.worth import hopeless

__all__ = ["curated"]


def curated(behaviors: Sequence[Behavior], *, most: int, min_uses: int = 8) -> list[Merge | Retire]:
    """Return what is to be done to active `behaviors` so that at most `most` are left, none of them hopeless and no two
    of them near.

    `min_uses` is how often one has to have been used before it is judged. Over the limit those go first that helped
    least for what they harmed, the older of two alike.
    """
    retired = {each.id for each in hopeless(behaviors, min_uses=min_uses)}
    left = [each for each in behaviors if each.is_active and each.id not in retired]
    deltas: list[Merge | Retire] = [Retire(id) for id in sorted(retired)]
    for group in _groups(left):
        stays = max(group, key=lambda each: (each.helpful - each.harmful, -each.id))
        gone = tuple(sorted(each.id for each in group if each is not stays))
        deltas.append(Merge(stays.id, gone))
        left = [each for each in left if each.id not in gone]
    by_worth = sorted(left, key=lambda each: (each.helpful - each.harmful, each.id))
    return [*deltas, *(Retire(each.id) for each in by_worth[: max(0, len(left) - most)])]


def _groups(behaviors: Sequence[Behavior]) -> list[list[Behavior]]:
    """Return groups of behaviors that are near their first one, each behavior in one group at most."""
    words = {each.id: {*words_in(each.instruction)} for each in behaviors}
    rarity = Counter(word for some in words.values() for word in some)
    known: dict[str, list[Behavior]] = {}
    groups: dict[int, list[Behavior]] = {}
    for each in behaviors:
        own = words[each.id]
        alike_ones = (
            other
            for other in _sharing(own, rarity, known)
            if other.polarity == each.polarity and alike(own, words[other.id]) >= NEAR
        )
        first = next(alike_ones, None)
        if first is None:
            for word in _prefix(own, rarity):
                known.setdefault(word, []).append(each)
        else:
            groups.setdefault(first.id, [first]).append(each)
    return list(groups.values())


def _prefix(own: set[str], rarity: Counter[str]) -> list[str]:
    """Return the rarest words of a text: another that is near it shares at least one of them."""
    ordered = sorted(own, key=lambda word: (rarity[word], word))
    return ordered[: len(ordered) - ceil(NEAR * len(ordered)) + 1]


def _sharing(own: set[str], rarity: Counter[str], known: dict[str, list[Behavior]]) -> Iterator[Behavior]:
    seen: set[int] = set()
    for word in _prefix(own, rarity):
        for each in known.get(word, ()):
            if each.id not in seen:
                seen.add(each.id)
                yield each
