"""Is a behavior worth its place?  One that very likely does worse than others of its handbook do is retired.

How often runs are right depends on what they are asked: a behavior for hard tasks that is right in four of ten uses may
be a great help. So a behavior is held against the share of right uses of all others, with as many uses of both outcomes
added as nothing is known, and never against more than a half. It is looked at again and again, so the evidence has to
be strong enough for every look there will ever be: one that is as good as that share is retired in one of twenty
handbooks at most.

Source: the mixture test of H. Robbins, 1970, with J. Ville's inequality, 1939: a uniform prior on the behavior's share
against the fixed one. ACE counts helpful and harmful uses and prunes nothing. Differs: neutral uses count towards
having been used enough, and for neither side; the share of the others is taken as known, which it is only roughly. A
handbook all of whose behaviors harm looks like one for hard tasks: what it does as a whole is told by runs that were
shown nothing (effect.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lgamma, log

from orchestrator.behaviors import Behavior

__all__ = ["hopeless", "worth"]

_HALF = 0.5
_ASSUMED = 4
"""Helpful and harmful uses that the others are thought to have had beside their own."""
_EVIDENCE = log(20)
"""How much likelier the uses have to be under another share; a false alarm is one in so many, however often looked."""


def worth(behavior: Behavior) -> int:
    """Return how many more runs a behavior helped than it harmed; 0 for one that nobody used."""
    return behavior.helpful - behavior.harmful


def hopeless(behaviors: Sequence[Behavior], *, min_uses: int = 8) -> list[Behavior]:
    """Return the active behaviors with at least `min_uses` uses that help less often than the others do."""
    helpful = sum(each.helpful for each in behaviors)
    harmful = sum(each.harmful for each in behaviors)

    def usual(behavior: Behavior) -> float:
        good, bad = helpful - behavior.helpful + _ASSUMED, harmful - behavior.harmful + _ASSUMED
        return min(_HALF, good / (good + bad))

    return [
        each
        for each in behaviors
        if each.is_active and each.uses >= min_uses and _is_worse(each.helpful, each.harmful, usual(each))
    ]


def _is_worse(helpful: int, harmful: int, usual: float) -> bool:
    """Return whether so many uses show a share of helpful ones below `usual`, in (0, 1)."""
    if helpful >= usual * (helpful + harmful):
        return False
    mixed = lgamma(helpful + 1) + lgamma(harmful + 1) - lgamma(helpful + harmful + 2)
    return mixed - helpful * log(usual) - harmful * log(1 - usual) >= _EVIDENCE
