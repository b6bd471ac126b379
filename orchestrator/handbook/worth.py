"""Is a behavior worth its place?  After enough uses, one that very likely harms more often than it helps is retired.

Source: E. B. Wilson's interval, 1927; ACE counts helpful and harmful uses and prunes nothing. Differs: neutral uses
count towards having seen enough, and for neither side.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.behaviors import Behavior
from orchestrator.intervals import ONE_SIDED, wilson

__all__ = ["hopeless", "worth"]

_HALF = 0.5


def worth(behavior: Behavior) -> int:
    """Return how many more runs a behavior helped than it harmed; 0 for one that nobody used."""
    return behavior.helpful - behavior.harmful


def hopeless(behaviors: Iterable[Behavior], *, min_uses: int = 8) -> list[Behavior]:
    """Return the active behaviors with at least `min_uses` uses, of which helpful ones are at most half of
    those that helped or harmed, with 95% confidence."""
    return [
        each
        for each in behaviors
        if each.is_active
        and each.uses >= min_uses
        and wilson(each.helpful, each.helpful + each.harmful, ONE_SIDED).high <= _HALF
    ]
