"""What a choice for a policy was made under, besides the pair: how engines write, where steps end, how scorers ask.

A monitor looks at what a router, a mode and a budget let happen, so its choice is made under these, too. What is not in
here does not shape a step or its reading: a router's budget, other monitors, seeds, and when a run stops. The weights
of an engine that only measures are not in here either: of it there are the served name and the tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.doors import Needs
from orchestrator.engines.base import Capabilities
from orchestrator.engines.spec import ProbePrompt
from orchestrator.runtime.identity import settings_of

if TYPE_CHECKING:
    from orchestrator.runtime.opening import Recipe

__all__ = ["circumstances", "difference"]


def circumstances(recipe: Recipe, policy: Any, found: Mapping[str, Capabilities], largest: str) -> dict[str, Any]:
    """Return them as plain data. `found` is what the started engines can do; `largest` serves scorers that name none.

    That goes for a function, too, which asks nobody.
    """
    needs: Needs = getattr(policy, "needs", Needs())
    engines = {
        name: {
            "sampling": spec.sampling,
            "think": recipe.thinks[name],
            "probe": (spec.probe or ProbePrompt()).settings(),
        }
        for name, spec in recipe.specs.items()
        if spec.writes
    }
    scorers = {}
    for name in needs.scorers:
        if (scorer := recipe.scorers.get(name)) is not None:
            can = found[scorer.engine or largest]
            scorers[name] = {"asks": scorer, "serves": can.model, "tokenizer": can.tokenizer}
    named: dict[str, Any] = {"delimiter": recipe.delimiter, "engines": engines, "scorers": scorers}
    if policy in recipe.monitors:
        # A thought that a limit cut is not known to its end: exits are measured on those that this budget lets happen.
        limits = {each: getattr(recipe.budget, each) for each in ("tokens", "prompt_tokens", "steps", "engines")}
        named |= {"router": recipe.router, "mode": getattr(recipe.mode, "name", recipe.mode), "budget": limits}
    plain: dict[str, Any] = json.loads(json.dumps(_unversioned(settings_of(named))))
    return plain


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the first thing that is not the same, as `NAME = VALUE, not VALUE`; empty if everything is."""
    here, there = dict(_leaves(before)), dict(_leaves(now))
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            return f"{name} = {here.get(name)!r:.80}, not {there.get(name)!r:.80}"
    return ""


def _unversioned(value: Any) -> Any:
    """Return settings without the versions of their classes: a newer package does not undo a choice."""
    if isinstance(value, Mapping):
        return {key: item.rpartition(" ")[0] if key == "policy" else _unversioned(item) for key, item in value.items()}
    return value


def _leaves(table: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{within}.{key}" if within else key
        if isinstance(value, Mapping):
            yield from _leaves(value, name)
        else:
            yield name, value
