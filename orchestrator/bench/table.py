"""The report for people: 80 columns of plain text, every policy's random control in the line behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.bench.agents import control_of
from orchestrator.bench.agents_table import agents_in_words, agents_table
from orchestrator.bench.columns import columns, wrapped
from orchestrator.bench.names import short_names
from orchestrator.bench.policies import CONTROLS, LARGE, RANDOM
from orchestrator.bench.rivals_table import areas, in_words, regrets
from orchestrator.bench.served import served

__all__ = ["table"]

Policies = Mapping[str, Any]
Names = Mapping[str, str]


def table(summary: Mapping[str, Any]) -> str:
    """Return the summary as text. Only a name that is too long by itself makes a line longer than 80 columns."""
    policies: Policies = summary["policies"]
    warnings = [wrapped(f"warning: {each}") for each in summary["warnings"]]
    if not policies:
        return "\n".join(warnings)
    names = short_names([*policies, *(summary.get("rivals") or {"families": ()})["families"]])
    parts = [_head(summary), _key(names), _quality(policies, names), _against_random(policies, names)]
    parts += [_at_budget(policies, names, summary)]
    parts += [_work(policies, names), *_tokens(policies, names), *served(policies, names)]
    parts += [_time(policies, names, summary)]
    parts += [_cost(policies, names, summary), _matched(summary, names), _spread(summary, names)]
    parts += [*areas(summary, names), regrets(policies, names), *agents_table(summary, names)]
    parts += [_in_short(policies, names, is_alone=_at_once(summary) == 1), in_words(summary, names)]
    parts += [agents_in_words(summary, names)]
    return "\n\n".join(part for part in [*parts, "\n".join(warnings)] if part)


def _key(names: Names) -> str:
    return "\n".join(f"{short} is {label}" for label, short in names.items() if not short.startswith((" ", label)))


def _head(summary: Mapping[str, Any]) -> str:
    settings = summary.get("settings", {})
    what = ":".join(str(value) for value in settings.get("workload", {}).values() if isinstance(value, str | int))
    line = f"{summary['tasks']} tasks of {what or 'one workload'}, split {settings.get('split', '?')}"
    if settings:
        line += f", {settings['seeds']} seed{'s' * (settings['seeds'] != 1)}, {settings['concurrency']} at once"
    lines = [line]
    for place in summary.get("where", ()):
        lines.append(f"{place['machine']}, Python {place['python']}, commit {place['commit'] or 'unknown'}")
        lines += [f"{name}: {served}" for name, served in place["engines"].items()]
    return "\n".join(wrapped(each) for each in dict.fromkeys(lines))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _interval(interval: Sequence[float], *, signed: bool = False) -> str:
    value, low, high = (100 * each for each in interval)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]" if signed else f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _quality(policies: Policies, names: Names) -> str:
    rows = [
        (
            names[label],
            _interval(each["accuracy"]),
            "-" if label == LARGE else _interval(each["versus_large"], signed=True),
        )
        for label, each in policies.items()
    ]
    return columns(("policy", "right %", "less large-only"), rows, "95% intervals; the difference is paired by task.")


def _against_random(policies: Policies, names: Names) -> str:
    """Return what a router's choice of steps is worth: against as many steps by the large engine, chosen by lot."""
    rows = [
        (
            names[label],
            _interval(found["right"], signed=True),
            _times(found["large_decode"]),
            _times(found["modelled_s"]),
        )
        for label, each in policies.items()
        if (found := each["versus_random"])
    ]
    note = (
        "The random control lets the large engine write the same share of steps. It asks no judge and throws no "
        "draft away: what that costs a policy is in the last two columns, policy over control."
    )
    return columns(("against random", "right, less its", "large decode x", "modelled s x"), rows, note) if rows else ""


def _at_once(summary: Mapping[str, Any]) -> int:
    return int(summary.get("settings", {}).get("concurrency", 1))


def _at_budget(policies: Policies, names: Names, summary: Mapping[str, Any]) -> str:
    rows = [
        (
            names[label],
            _interval(each["accuracy_at_equal_budget"]),
            "-" if label == LARGE else _interval(each["versus_large_at_equal_budget"], signed=True),
        )
        for label, each in policies.items()
    ]
    tokens = summary["equal_budget_tokens"]
    note = (
        f"Right within {tokens} output tokens of all engines, judge and discarded drafts counted: what large-only "
        "needs for nine tasks in ten. A run that took more counts as wrong."
    )
    return columns((f"within {tokens} tokens", "right %", "less large-only"), rows, note)


def _work(policies: Policies, names: Names) -> str:
    rows = []
    for label, each in policies.items():
        purposes = each["output_tokens_by_purpose"]
        discarded = sum(value for key, value in purposes.items() if not key.endswith("/used"))
        judge = sum(value for key, value in purposes.items() if "/judge/" in key)
        figures = (each["steps_per_task"], each["escalations_per_task"], discarded, judge)
        large = _percent(each["large_share_of_steps"])
        rows.append((names[label], large, *(f"{figure:.1f}" for figure in figures), str(each["budget_stops"])))
    header = ("per task", "large %", "steps", "escal.", "discarded", "judge", "stops")
    note = (
        "large %: kept steps that the large engine wrote. escal.: drafts it replaced. discarded, judge: output "
        "tokens. stops: runs that a budget ended, in all."
    )
    return columns(header, rows, note)


def _tokens(policies: Policies, names: Names) -> list[str]:
    """Return a table for every engine."""
    engines = list(next(iter(policies.values()))["engines"])
    found = []
    for engine in engines:
        header = (f"{engine}, tokens per task", "calls", "decoded", "prefilled", "cached")
        rows = []
        for label, each in policies.items():
            use = each["engines"][engine]
            tokens = (use["decode"], use["uncached"], use["cached"])
            rows.append((names[label], f"{use['calls']:.1f}", *(f"{figure:.0f}" for figure in tokens)))
        note = "decoded: judge and discarded drafts in it. cached: of prompts, what the run itself had put there."
        notes = [note] if engine == engines[-1] else []
        found.append(columns(header, rows, *notes))
    return found


def _time(policies: Policies, names: Names, summary: Mapping[str, Any]) -> str:
    rows = [
        (
            names[label],
            f"{each['wall_s']['mean']:.2f}",
            _times(each["wall_speed_up"]),
            f"{each['modelled_s']:.2f}",
            _times(each["modelled_speed_up"], each["modelled_speed_up_interval"]),
        )
        for label, each in policies.items()
    ]
    note = (
        f"x: times faster than large-only. wall: measured here, policies in turn{_waiting(summary)}; later ones find "
        f"caches that earlier ones filled. modelled: for {summary['hardware']}, one request at a time, prefill in it. "
        "Verdicts of a verifier cost nothing here."
    )
    return columns(("seconds per task", "wall", "x", "modelled", "x"), rows, note)


def _cost(policies: Policies, names: Names, summary: Mapping[str, Any]) -> str:
    rows = [
        (
            names[label],
            f"{each['flops'] / 1e12:.1f}",
            f"{each['pte']:.0f}",
            *(f"{each['cost'][name]:.1f}" for name in summary["prices"]),
        )
        for label, each in policies.items()
    ]
    note = "TFLOP and PTE have prefill in them; prices are in output tokens of the large engine."
    return columns(("per task", "TFLOP", "PTE", *summary["prices"]), rows, note)


def _waiting(summary: Mapping[str, Any]) -> str:
    number = _at_once(summary)
    return f", {number} runs at once, their waiting for each other in it" if number > 1 else ""


def _times(ratio: float | None, interval: Sequence[float] | None = None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def _matched(summary: Mapping[str, Any], names: Names) -> str:
    """Return how much faster each router's front is where it is as right as large-only."""
    rows = []
    for family, found in summary["matched_accuracy"].items():
        held_out = f"{found['held_out_speed_up']:.2f}", f"{100 * found['held_out_versus_large']:+.1f}"
        rows.append((names.get(family, family), _times(found["speed_up"], found["speed_up_interval"]), *held_out))
    accuracy = next(iter(summary["matched_accuracy"].values()), {"accuracy": 0})["accuracy"]
    note = (
        f"Modelled, where a front reaches large-only's {_percent(accuracy)}%. A front is the best of a router's "
        "settings, small-only, large-only and mixtures of two: never below 1, and flattering, because it is chosen on "
        "the tasks it is measured on. held out: chosen on half of them, measured on the others. What the row random "
        "has needs no judge."
    )
    header = ("at matched accuracy", "speed-up", "held out", "right, less large-only")
    return columns(header, rows, note) if rows else ""


def _in_short(policies: Policies, names: Names, *, is_alone: bool) -> str:
    """Return a sentence for every policy that is no control: what it gives and what it takes, better or worse."""
    right = _percent(policies[LARGE]["accuracy"][0])
    found = []
    for label, each in policies.items():
        if label in CONTROLS or label.startswith(f"{RANDOM}@") or control_of(label):
            continue
        wall = f", {_pace(each['wall_speed_up'])} as measured here" if is_alone else ""
        found += [
            f"{names[label]} solves {_percent(each['accuracy'][0])}%, large-only {right}%, a difference of "
            f"{_interval(each['versus_large'], signed=True)} points; it decodes "
            f"{_decoded(each)} of large-only's tokens with the large engine and is "
            f"{_pace(each['modelled_speed_up'])} as modelled{wall}."
        ]
    return "\n".join(wrapped(each) for each in ["In short:", *found]) if found else ""


def _decoded(policy: Mapping[str, Any]) -> str:
    ratio, interval = (policy[f"large_decode_versus_large_only{end}"] for end in ("", "_interval"))
    if ratio is None:
        return "-"
    return f"{ratio:.0%}" + (f" [{interval[0]:.0%}, {interval[1]:.0%}]" if interval else "")


def _pace(ratio: float | None) -> str:
    if ratio is None:
        return "no time"
    return f"{ratio:.2f} x faster" if ratio >= 1 else f"{1 / ratio:.2f} x slower"


def _spread(summary: Mapping[str, Any], names: Names) -> str:
    """Return, for each policy, the least and the greatest speed-up when any one figure is halved or doubled."""
    rows = []
    for label in summary["policies"]:
        ratios = {what: row[label] for what, row in summary["sensitivity"].items() if row[label] is not None}
        if ratios and label != "large":
            least, most = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
            rows.append(
                (names[label], f"{ratios[least]:.2f} {_changed(least)}", f"{ratios[most]:.2f} {_changed(most)}")
            )
    note = "Every figure of the profile halved and doubled, one at a time; all of them are in summary.json."
    return columns(("modelled speed-up", "least, with", "most, with"), rows, note) if rows else ""


def _changed(what: str) -> str:
    figure, _, word = what.rpartition(" ")
    figure = figure.removesuffix("_ms").removesuffix("_per_s")
    return f"{figure} {'x 2' if word == 'doubled' else '/ 2'}"
