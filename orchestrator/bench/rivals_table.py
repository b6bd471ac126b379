"""Routers against the oracle and each other, and their regret, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.bench.columns import columns, wrapped

__all__ = ["areas", "in_words", "regrets"]

Names = Mapping[str, str]
_NAME = 26
"""Letters of a router's name in the tables; the words at the end have all of it."""


def areas(summary: Mapping[str, Any], names: Names) -> list[str]:
    """Return the table of areas, of distances to the oracle, and one for every two routers."""
    found = summary.get("rivals")  # a summary of before there were these has none
    if not found:
        return []
    parts = [_areas(found), *(_pair(pair) for pair in found["pairs"])]
    return [*parts[:1], *([_below(found, names)] if found["versus_oracle"] else []), *parts[1:]]


def _areas(found: Mapping[str, Any]) -> str:
    rows = [
        (_short(family), str(each["settings"]), _points(each["mean_over_random"]), _percent(each["share_of_oracle"]))
        for family, each in found["families"].items()
    ]
    note = (
        f"Area under the right answers, in points, against the share of steps by the large engine from 0 to "
        f"{found['up_to_share']:g}, over that share; less that of random, and as a part of what the oracle's is above "
        "random's. Curves go from small-only through a router's settings to large-only in straight lines."
    )
    notes = [note]
    if oracle := found["oracle"]:
        notes.append(
            f"The oracle is right on {100 * oracle['accuracy']:.1f}% at its own share of "
            f"{100 * oracle['own_share']:.1f}%; its curve is a straight line there from small-only, and level behind."
        )
    header = ("accuracy by large share", "settings", "mean over random", "of oracle's %")
    return columns(header, rows, *notes)


def _short(family: str) -> str:
    return family if len(family) <= _NAME else f"{family[:10]}~{family[11 - _NAME :]}"


def _below(found: Mapping[str, Any], names: Names) -> str:
    rows = [(names[name], _points(each)) for name, each in found["versus_oracle"].items()]
    return columns(("below the oracle", "right, at equal large share"), rows, "How much more the oracle has right.")


def _pair(pair: Mapping[str, Any]) -> str:
    one, other = pair["first"], pair["second"]
    rows = [
        (f"at {100 * float(share):g}% large steps", _points(each))
        for share, each in pair["accuracy_difference"].items()
    ]
    head = wrapped(f"{one}, less {other} at equal share, and tokens of the large engine at equal accuracy:")
    table = columns(("at equal large share", "right, difference"), rows)
    ratios = [
        (f"{100 * float(level):g}% of the way to large-only", _ratio(each))
        for level, each in pair["large_tokens_ratio"].items()
    ]
    note = "x: so many times fewer output tokens of the large engine by the first of the two, judge in them."
    return f"{head}\n{table}\n\n{columns(('equally accurate', 'large tokens, x fewer'), ratios, note)}"


def regrets(policies: Mapping[str, Any], names: Names) -> str:
    """Return the table of wasted large steps and harmful small steps, empty where nothing was looked at."""
    rows = [
        (
            names[label],
            str(found["looked_at"]),
            _percent(found["wasted_large_steps"]),
            _percent(found["harmful_small_steps"]),
            _plain(found["wasted_per_task"]),
            _plain(found["harmful_per_task"]),
        )
        for label, each in policies.items()
        if (found := each.get("regret"))
    ]
    note = (
        "Steps at which the other engine's step was written, too. wasted: large ones where the small engine's was as "
        "good. harmful: small ones where the large engine's was better; by their scores, each step by itself. What "
        "looking cost is not in the policies' figures but in wall time and discarded tokens."
    )
    header = ("regret", "steps looked at", "wasted %", "harmful %", "wasted/task", "harmful/task")
    return columns(header, rows, note) if rows else ""


def in_words(summary: Mapping[str, Any]) -> str:
    """Return a sentence for every router about its choice of steps, and for every two about which chooses better."""
    found = summary.get("rivals")
    if not found:
        return ""
    lines = []
    for family, each in found["families"].items():
        of_oracle = each["share_of_oracle"]
        part = f", {_percent(of_oracle)}% of what the oracle gains" if of_oracle else ""
        lines.append(
            f"{family} is {_points(each['mean_over_random'])} points above random on average from 0 to "
            f"{100 * found['up_to_share']:g}% of steps by the large engine{part}."
        )
    for pair in found["pairs"]:
        lines += _compared(pair)
    return "\n".join(wrapped(line) for line in lines)


def _compared(pair: Mapping[str, Any]) -> list[str]:
    one, other = pair["first"], pair["second"]
    signs = {share: _sign(each) for share, each in pair["accuracy_difference"].items()}
    better, worse = ([share for share, sign in signs.items() if sign == which] for which in (1, -1))
    said = [
        f"{word} at {_listed(shares)}"
        for word, shares in (("more accurate", better), ("less accurate", worse))
        if shares
    ]
    undecided = f"{one} and {other} cannot be told apart at equal large share from these tasks."
    return [f"{one} is {' and '.join(said)} of steps by the large engine than {other}." if said else undecided]


def _sign(interval: Sequence[float] | None) -> int:
    if interval is None:
        return 0
    _, low, high = interval
    return 1 if low > 0 else -1 if high < 0 else 0


def _listed(shares: Sequence[str]) -> str:
    return ", ".join(f"{100 * float(share):g}%" for share in shares)


def _points(interval: Sequence[float] | None) -> str:
    if interval is None:
        return "-"
    value, low, high = (100 * each for each in interval)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _percent(interval: Sequence[float] | None) -> str:
    if interval is None:
        return "-"
    value, low, high = (100 * each for each in interval)
    return f"{value:.0f} [{low:.0f}, {high:.0f}]"


def _ratio(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.2f} [{interval[1]:.2f}, {interval[2]:.2f}]"


def _plain(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.1f} [{interval[1]:.1f}, {interval[2]:.1f}]"
