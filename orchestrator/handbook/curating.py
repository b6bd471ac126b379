"""Keep a handbook small: what harms is retired, what says the same is merged, and what is left over a limit goes.

Nothing is asked of an engine. Every behavior is touched once at most, whatever is alike: of a group that says the same
the one that helped most often stays, and has the counters of all.

Over the limit those go that helped least for what they harmed. Of those that are worth the same the older goes, and of
the places one in ten is for the newest that were never used: a handbook whose every place is taken by what has helped
once would learn nothing any more, and one that keeps everything new would forget what helps.

Source: grow-and-refine of ACE, arXiv:2510.04618. Differs: words are compared as well as vectors; there an item can
join two groups and be counted twice, and nothing is pruned or capped. How much of a handbook a prompt gets is limited
where it is recalled, not here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.behaviors import Behavior, Merge, Retire
from orchestrator.handbook.grouping import groups
from orchestrator.handbook.worth import hopeless, worth

__all__ = ["curated"]

_FOR_NEW = 10
"""One place in so many is for what was never used."""


def curated(
    behaviors: Sequence[Behavior],
    *,
    most: int,
    min_uses: int = 8,
    vectors: Mapping[int, Any] | None = None,
    new: Collection[int] | None = None,
) -> list[Merge | Retire]:
    """Return what is to be done to active `behaviors` so that at most `most` are left, none of them hopeless and no two
    of them near.

    `min_uses` is how often one has to have been used before it is judged. `vectors` are numpy's, of length 1, by id;
    what has none is compared by its words alone. Where `new` ids are given, the others are not compared with each other
    again, unless they are more than `most` themselves.
    """
    retired = {each.id for each in hopeless(behaviors, min_uses=min_uses)}
    left = [each for each in behaviors if each.is_active and each.id not in retired]
    deltas: list[Merge | Retire] = [Retire(id) for id in sorted(retired)]
    merged: list[Behavior] = []
    if new is not None and sum(each.id not in new for each in left) > most:
        new = None
    for group in groups(left, vectors or {}, new=new):
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
