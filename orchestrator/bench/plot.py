"""Accuracy against what it costs, as a picture: one panel for modelled latency, one for large decode tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.bench.pareto import Point, front
from orchestrator.bench.policies import LARGE, ORACLE, RANDOM, SMALL
from orchestrator.bench.summary import family_of
from orchestrator.errors import UserError

__all__ = ["plot"]

_MARKS = {SMALL: "v", LARGE: "^", ORACLE: "*", RANDOM: "x"}
_SIZE = (11.0, 4.6)
_DPI = 160


def plot(summary: Mapping[str, Any], files: list[Path]) -> None:
    """Draw the summary into files; their endings say how. Raises UserError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("plots need matplotlib: pip install 'reasoning-orchestrator[bench]'") from error
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    costs = {
        f"modelled seconds per task ({summary['hardware']})": lambda each: each["modelled_s"],
        "large-engine output tokens per task": lambda each: list(each["engines"].values())[-1]["decode"],
    }
    panels = figure.subplots(1, len(costs), sharey=True)
    for panel, (name, cost_of) in zip(panels, costs.items(), strict=True):
        _draw(panel, summary["policies"], cost_of)
        panel.set_xlabel(name)
        panel.set_xlim(left=0)
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("tasks solved, % (95% interval)")
    panels[-1].legend(loc="lower right", fontsize=8)
    figure.suptitle(f"{summary['tasks']} tasks, {_named(summary)}", fontsize=11)
    for file in files:
        figure.savefig(file, dpi=_DPI)


def _draw(panel: Any, policies: Mapping[str, Any], cost_of: Any) -> None:
    families: dict[str, list[Point]] = {}
    errors: dict[str, list[tuple[float, float]]] = {}
    for label, each in policies.items():
        value, low, high = (100 * share for share in each["accuracy"])
        family = family_of(label)
        families.setdefault(family, []).append(Point(cost_of(each), value, label))
        errors.setdefault(family, []).append((value - low, high - value))
    for place, (family, points) in enumerate(families.items()):
        x, y = [point.cost for point in points], [point.accuracy for point in points]
        spread = list(zip(*errors[family], strict=True))
        mark = _MARKS.get(family, "o")
        panel.errorbar(
            x, y, yerr=spread, fmt=mark, color=f"C{place}", label=family, capsize=2, elinewidth=0.7, markersize=7
        )
        if family not in _MARKS:
            ends = [Point(cost_of(policies[name]), 100 * policies[name]["accuracy"][0]) for name in (SMALL, LARGE)]
            best = front([*points, *ends])
            panel.plot([p.cost for p in best], [p.accuracy for p in best], color=f"C{place}", alpha=0.5, linewidth=1)


def _named(summary: Mapping[str, Any]) -> str:
    workload = summary.get("settings", {}).get("workload", {})
    return ":".join(str(value) for value in workload.values() if isinstance(value, str | int)) or "one workload"
