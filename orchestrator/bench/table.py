"""The report for people: narrow enough for 80 columns, plain text, the controls beside every policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["table"]

_LABEL = 30


def table(summary: Mapping[str, Any]) -> str:
    """Return the summary as text."""
    policies: Mapping[str, Any] = summary["policies"]
    if not policies:
        return "\n".join(f"warning: {each}" for each in summary["warnings"])
    names = _short(list(policies))
    parts = [_head(summary), *(_key(names)), _quality(policies, names, summary), _tokens(policies, names)]
    parts += [_cost(policies, names, summary), _matched(summary), _spread(summary, names)]
    parts += [f"warning: {each}" for each in summary["warnings"]]
    return "\n\n".join(part for part in parts if part)


def _short(labels: Sequence[str]) -> dict[str, str]:
    """Return what each policy is called in the tables: its label, or a number where that is too long."""
    found: dict[str, str] = {}
    for label in labels:
        found[label] = label if len(label) <= _LABEL else f"{label[: _LABEL - 4]}~{len(found)}"
    return found


def _key(names: Mapping[str, str]) -> list[str]:
    cut = [f"{short} is {label}" for label, short in names.items() if short != label]
    return ["\n".join(cut)] if cut else []


def _head(summary: Mapping[str, Any]) -> str:
    settings = summary.get("settings", {})
    what = ":".join(str(value) for value in settings.get("workload", {}).values() if isinstance(value, str | int))
    where = summary.get("where", {})
    lines = [f"{summary['tasks']} tasks of {what or 'one workload'}, split {settings.get('split', '?')}"]
    if settings:
        lines[0] += f", {settings['seeds']} seed{'s' * (settings['seeds'] != 1)}, {settings['concurrency']} at once"
    if where:
        lines.append(f"{where['machine']}, Python {where['python']}, commit {where['commit'] or 'unknown'}")
    return "\n".join(lines)


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[place]) for line in [header, *rows]) for place in range(len(header))]
    lines = []
    for line in [header, *rows]:
        cells = [cell.ljust(widths[0]) if not place else cell.rjust(widths[place]) for place, cell in enumerate(line)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _interval(interval: Sequence[float], *, signed: bool = False) -> str:
    value, low, high = (100 * each for each in interval)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]" if signed else f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _quality(policies: Mapping[str, Any], names: Mapping[str, str], summary: Mapping[str, Any]) -> str:
    header = ("policy", "right %", "less large-only", f"at {summary['equal_budget_tokens']} tok", "large %", "stops")
    rows = [
        (
            names[label],
            _interval(each["accuracy"]),
            _interval(each["versus_large"], signed=True),
            _percent(each["accuracy_at_equal_budget"][0]),
            _percent(each["large_share_of_steps"]),
            str(each["budget_stops"]),
        )
        for label, each in policies.items()
    ]
    note = "95% intervals; differences are paired by task. large %: of kept steps. stops: by the budget."
    return _rows(header, rows) + "\n" + note


def _tokens(policies: Mapping[str, Any], names: Mapping[str, str]) -> str:
    engines = list(next(iter(policies.values()))["engines"])
    header = ["tokens per task"]
    for engine in engines:
        header += [f"{engine} out", "in", "cached"]
    header += ["discarded", "judge"]
    rows = []
    for label, each in policies.items():
        cells = [names[label]]
        for engine in engines:
            use = each["engines"][engine]
            cells += [f"{use['decode']:.0f}", f"{use['uncached']:.0f}", f"{use['cached']:.0f}"]
        purposes = each["output_tokens_by_purpose"]
        cells.append(f"{sum(value for key, value in purposes.items() if not key.endswith('/used')):.0f}")
        cells.append(f"{sum(value for key, value in purposes.items() if '/judge/' in key):.1f}")
        rows.append(cells)
    return _rows(header, rows) + "\nout: decoded, discarded and judge in it. in: prefilled, not cached."


def _cost(policies: Mapping[str, Any], names: Mapping[str, str], summary: Mapping[str, Any]) -> str:
    header = ["per task", "wall s", "x", "model s", "x", "TFLOP", "PTE", *summary["prices"]]
    rows = [
        [
            names[label],
            f"{each['wall_s']['mean']:.2f}",
            _times(each["wall_speed_up"]),
            f"{each['modelled_s']:.2f}",
            _times(each["modelled_speed_up"]),
            f"{each['flops'] / 1e12:.1f}",
            f"{each['pte']:.0f}",
            *(f"{each['cost'][name]:.0f}" for name in summary["prices"]),
        ]
        for label, each in policies.items()
    ]
    note = (
        f"x: times faster than large-only. model s, TFLOP, PTE: modelled for {summary['hardware']}, prefill in them.\n"
        "Prices are in output tokens of the large engine."
    )
    return _rows(header, rows) + "\n" + note


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _matched(summary: Mapping[str, Any]) -> str:
    lines = []
    for family, found in summary["matched_accuracy"].items():
        low, high = found["speed_up_interval"]
        lines.append(
            f"{family}: {found['speed_up']:.2f} x [{low:.2f}, {high:.2f}] modelled, at large-only's "
            f"{100 * found['accuracy']:.1f}%; front: {', '.join(found['front'])}"
        )
    return "\n".join(["speed-up at matched accuracy, over the whole front:", *lines]) if lines else ""


def _spread(summary: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return, for each policy, the least and the greatest speed-up when any one figure is halved or doubled."""
    lines = []
    for label in summary["policies"]:
        ratios = {what: row[label] for what, row in summary["sensitivity"].items() if row[label] is not None}
        if ratios and label not in ("large",):
            least, most = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
            lines.append((names[label], f"{ratios[least]:.2f}", least, f"{ratios[most]:.2f}", most))
    return _rows(("modelled speed-up", "least", "with", "most", "with"), lines) if lines else ""
