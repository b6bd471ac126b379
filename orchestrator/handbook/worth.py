"""Is a behavior worth its place?  After enough uses, one that very likely harms more often than it helps is retired.

Source: E. B. Wilson's interval, 1927; ACE counts helpful and harmful uses and prunes nothing. Differs: neutral uses
count towards having seen enough, and for neither side.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

from orchestrator.behaviors import Behavior

__all__ = ["hopeless", "likely_at_most"]

_Z = 1.6448536269514722
"""One-sided 95%."""


def likely_at_most(hits: int, number: int) -> float:
    """Return the upper end of Wilson's one-sided 95% interval of the share hits / number; 1 for no observation."""
    if not number:
        return 1.0
    share, z = hits / number, _Z
    centre = (share + z * z / (2 * number)) / (1 + z * z / number)
    reach = z * sqrt(share * (1 - share) / number + z * z / (4 * number * number)) / (1 + z * z / number)
    return max(share, min(1.0, centre + reach))


def hopeless(behaviors: Iterable[Behavior], *, min_uses: int = 8, share: float = 0.5) -> list[Behavior]:
    """Return the active behaviors with at least `min_uses` uses, of which helpful ones are at most `share` of those
    that helped or harmed, with 95% confidence."""
    return [
        each
        for each in behaviors
        if each.is_active
        and each.uses >= min_uses
        and likely_at_most(each.helpful, each.helpful + each.harmful) <= share
    ]
