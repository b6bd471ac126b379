"""The part of the report about agents, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.bench.agents import control_of
from orchestrator.bench.columns import columns, wrapped
from orchestrator.bench.sample import LOOP

__all__ = ["agents_in_words", "agents_table"]


_NOTICED = "Runs in which a monitor raised an event of this kind, whatever was done about it."
_HEALTHY = (
    f" A healthy one ended right and has no call with the same answer {LOOP} times in a row; nobody can say where runs "
    "are handed over."
)


def agents_table(summary: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Return a table of what agents cost and notice; none where there are none."""
    found = summary.get("agents")
    if not found:
        return []
    prices = summary["prices"]
    work = [
        (
            names[label],
            _ratio(each["right_versus_large"]),
            *(_ratio(each["cost_versus_large"][price]) for price in prices),
            f"{summary['policies'][label]['escalations_per_task']:.2f}",
            f"{each['returns_per_task']:.2f}",
            f"{each['ratings_per_task']:.2f}",
        )
        for label, each in found.items()
    ]
    header = ("of always-large", "right", *prices, "hand-overs", "returns", "verdicts")
    note = "Shares of what large-only solves and costs, under each price profile. The others are per task."
    return [columns(header, work, note), *_noticed(found, names)]


def _noticed(found: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Return a table of what was noticed; of healthy runs where the samples say which these are."""
    seen = [
        (names[label], kind, shares)
        for label, each in found.items()
        if not control_of(label)
        for kind, shares in each["noticed"].items()
    ]
    if not seen:
        return []
    is_told = any(shares.get("healthy") for *_, shares in seen)
    groups = {"all": "% of runs", "right": "% of right", **({"healthy": "% of healthy"} if is_told else {})}
    rows = [(name, kind, *(_percent(shares.get(of)) for of in groups)) for name, kind, shares in seen]
    return [columns(("noticed", "kind", *groups.values()), rows, _NOTICED + _HEALTHY * is_told, keys=2)]


def agents_in_words(summary: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return, for each policy with monitors, how it compares with its controls at the same cost."""
    lines = []
    for label, each in (summary.get("agents") or {}).items():
        for price, controls in each["at_equal_cost"].items():
            for control, (value, low, high) in controls.items():
                lines.append(
                    f"{names[label]} is right {100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] points more "
                    f"often than the best mixture of `{control}`, small-only and large-only at the same cost "
                    f"({price})."
                )
    return "\n".join(map(wrapped, lines))


def _ratio(interval: Sequence[float] | None) -> str:
    if interval is None:
        return "-"
    value, low, high = (100 * each for each in interval)
    return f"{value:.0f}% [{low:.0f}, {high:.0f}]"


def _percent(interval: Sequence[float] | None) -> str:
    if interval is None:
        return "-"
    value, low, high = (100 * each for each in interval)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
