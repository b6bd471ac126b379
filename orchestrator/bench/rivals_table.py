"""Routers against the oracle and each other, and their regret, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.bench.columns import columns, wrapped

__all__ = ["areas", "in_words", "regrets"]

Names = Mapping[str, str]
Ends = Sequence[float | None] | None
"""A value with its interval; its ends may be unknown, or all of it."""
_SAID = (0.9, 1.0)
"""Parts of the way to large-only's accuracy whose tokens are told in words."""
_LEVELS = {"75%": "0.75", "90%": "0.9"}
"""Those of the table, as the summary calls them."""


def areas(summary: Mapping[str, Any], names: Names) -> list[str]:
    """Return the table of areas, of distances to the oracle, and one for each router against those behind it."""
    found = summary.get("rivals")  # a summary of before there were these has none
    if not found:
        return []
    parts = [_areas(found, names), *_against(found["pairs"], names)]
    return [*parts[:1], *([_below(found, names)] if found["versus_oracle"] else []), *parts[1:]]


def _areas(found: Mapping[str, Any], names: Names) -> str:
    rows = [
        (
            names.get(family, family),
            str(each["settings"]),
            _points(each["mean_over_random"]),
            _percent(each["share_of_oracle"]),
        )
        for family, each in found["families"].items()
    ]
    note = (
        f"Area under the right answers, in points, against the share of steps by the large engine from 0 to "
        f"{found['up_to_share']:g}, over that share; less that of random, and as a part of what the oracle's is above "
        "random's. Curves go from small-only through a router's settings, random's through its measured controls, to "
        "large-only in straight lines."
    )
    notes = [note]
    if oracle := found["oracle"]:
        notes.append(
            f"The oracle is right on {100 * oracle['accuracy']:.1f}% at its own share of "
            f"{100 * oracle['own_share']:.1f}%; its curve is a straight line there from small-only, and level behind."
        )
    header = ("accuracy by large share", "settings", "mean over random", "of oracle's %")
    return columns(header, rows, *notes)


def _below(found: Mapping[str, Any], names: Names) -> str:
    at_cost = found.get("versus_oracle_at_cost", {})
    rows = [
        (names[name], _points(each), *(_points(distances[name]) for distances in at_cost.values()))
        for name, each in found["versus_oracle"].items()
    ]
    note = (
        "How much more the oracle has right: at as many large steps, and for as much a task, between small-only, the "
        "oracle at what it was measured to cost, and large-only."
    )
    return columns(("below the oracle", "at equal large share", *(f"at equal {what}" for what in at_cost)), rows, note)


def _against(pairs: Sequence[Mapping[str, Any]], names: Names) -> list[str]:
    """Return a table for each router that is the first of some pairs, a note behind the last."""
    tables = []
    for first in dict.fromkeys(pair["first"] for pair in pairs):
        rows = [
            (names.get(pair["second"], pair["second"]), _points(pair.get("least_difference")), *_ratios(pair))
            for pair in pairs
            if pair["first"] == first
        ]
        header = (
            f"{names.get(first, first)} against",
            "right, at worst",
            *(f"x fewer at {level}" for level in _LEVELS),
        )
        tables.append(columns(header, rows))
    if tables:
        note = (
            "right, at worst: points that the first has more right where it is least ahead, at equal shares of 10% to "
            "60% of steps by the large engine. x fewer: times fewer output tokens of the large engine, judge in them, "
            "where both are so far on the way from small-only to large-only's accuracy. Every share and level is in "
            "summary.json."
        )
        tables[-1] += f"\n{wrapped(note)}"
    return tables


def _ratios(pair: Mapping[str, Any]) -> list[str]:
    return [_ratio(pair["large_tokens_ratio"].get(level)) for level in _LEVELS.values()]


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


def in_words(summary: Mapping[str, Any], names: Names) -> str:
    """Return a sentence for every router about its choice of steps, and on whether the first one chooses better."""
    found = summary.get("rivals")
    if not found:
        return ""
    lines = []
    for family, each in found["families"].items():
        of_oracle = each["share_of_oracle"]
        part = f", {_percent(of_oracle)}% of what the oracle gains" if of_oracle else ""
        lines.append(
            f"{names.get(family, family)} is {_points(each['mean_over_random'])} points above random on average from "
            f"0 to {100 * found['up_to_share']:g}% of steps by the large engine{part}."
        )
    for pair in found["pairs"]:
        if pair["first"] == next(iter(found["families"])):
            lines += _compared(pair, names)
    return "\n".join(wrapped(line) for line in lines)


def _compared(pair: Mapping[str, Any], names: Names) -> list[str]:
    one, other = (names.get(pair[which], pair[which]) for which in ("first", "second"))
    signs = {share: _sign(each) for share, each in pair["accuracy_difference"].items()}
    better, worse = ([share for share, sign in signs.items() if sign == which] for which in (1, -1))
    said = [
        f"{word} at {_listed(shares)}"
        for word, shares in (("more accurate", better), ("less accurate", worse))
        if shares
    ]
    undecided = f"{one} and {other} cannot be told apart at equal large share from these tasks."
    lines = [f"{one} is {' and '.join(said)} of steps by the large engine than {other}." if said else undecided]
    if least := pair.get("least_difference"):
        lines.append(f"The least difference at these shares is {_points(least)} points.")
    for level, each in pair["large_tokens_ratio"].items():
        if each is not None and float(level) in _SAID:
            where = "large-only's accuracy" if float(level) == 1 else f"{100 * float(level):g}% of the way to it"
            lines.append(f"At {where} {one} takes {_ratio(each)} x fewer tokens of the large engine than {other}.")
    return lines


def _sign(interval: Ends) -> int:
    """Return the sign of a value whose interval leaves out 0, else 0."""
    _, low, high = interval or (None, None, None)
    if low is None or high is None:
        return 0
    return 1 if low > 0 else -1 if high < 0 else 0


def _listed(shares: Sequence[str]) -> str:
    return ", ".join(f"{100 * float(share):g}%" for share in shares)


def _points(interval: Ends) -> str:
    return _written(interval, "+.1f", 100)


def _percent(interval: Ends) -> str:
    return _written(interval, ".0f", 100)


def _ratio(interval: Ends) -> str:
    return _written(interval, ".2f")


def _plain(interval: Ends) -> str:
    return _written(interval, ".1f")


def _written(interval: Ends, form: str, times: int = 1) -> str:
    """Return a value with its interval; without it where there is none."""
    if interval is None:
        return "-"
    value, *ends = (each if each is None else format(times * each, form) for each in interval)
    return f"{value}" if None in ends else f"{value} [{ends[0]}, {ends[1]}]"
