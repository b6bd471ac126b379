"""Accuracy against what it costs, as a picture: one panel for modelled latency, one for large decode tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.bench.pareto import Point, front
from orchestrator.bench.policies import LARGE, ORACLE, RANDOM, SMALL
from orchestrator.bench.summary import family_of
from orchestrator.errors import UserError

__all__ = ["plot"]

_SIZE = (11.0, 5.4)
_DPI = 160
_MARGIN = 0.03
"""Of the largest cost, so that the axis cuts nothing that costs nothing."""


class _Look(NamedTuple):
    color: str
    mark: str = "o"
    size: float = 7
    line: str = "-"


_CONTROLS = {
    SMALL: _Look("0.45", "v", 8),
    LARGE: _Look("black", "^", 8),
    RANDOM: _Look("0.6", "x", 6, "--"),
    ORACLE: _Look("goldenrod", "*", 15),
}


def plot(summary: Mapping[str, Any], files: list[Path]) -> None:
    """Draw the summary into files; their endings say how. Raises UserError without matplotlib."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("plots need matplotlib: pip install 'reasoning-orchestrator[bench]'") from error
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    policies = summary["policies"]
    costs = {
        f"modelled seconds per task ({summary['hardware']})": lambda each: each["modelled_s"],
        "large-engine output tokens per task": lambda each: list(each["engines"].values())[-1]["decode"],
    }
    panels = figure.subplots(1, len(costs), sharey=True)
    for panel, (name, cost_of) in zip(panels, costs.items(), strict=True):
        _draw(panel, policies, cost_of)
        panel.set_xlabel(name)
        panel.set_xlim(left=-_MARGIN * max(map(cost_of, policies.values())))
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("tasks solved, % (95% interval)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    figure.suptitle(
        f"{summary['tasks']} tasks of {_named(summary)} (lines: the best mixtures of settings)", fontsize=11
    )
    # Equal results are equal files: no date, and names that follow from what is drawn.
    with rc_context({"svg.hashsalt": "orchestrator"}):
        for file in files:
            figure.savefig(file, dpi=_DPI, metadata={"Date": None} if file.suffix == ".svg" else None)


def _draw(panel: Any, policies: Mapping[str, Any], cost_of: Callable[[Any], float]) -> None:
    families: dict[str, list[str]] = {}
    for label in policies:
        families.setdefault(family_of(label), []).append(label)
    colors = (f"C{place}" for place in range(len(families)))
    ends = _points(policies, [SMALL, LARGE], cost_of)
    for family, labels in families.items():
        look = _CONTROLS.get(family) or _Look(next(colors))
        points = _points(policies, labels, cost_of)
        panel.errorbar(
            [point.cost for point in points],
            [point.accuracy for point in points],
            yerr=_reaches(policies, labels),
            fmt=look.mark,
            color=look.color,
            label=family,
            capsize=2,
            elinewidth=0.7,
            markersize=look.size,
            zorder=2 if family == ORACLE else 3,  # the star stays to be seen around a point that reaches it
        )
        if family not in (SMALL, LARGE, ORACLE):
            best = front([*points, *ends])
            line = {"color": look.color, "linestyle": look.line, "alpha": 0.6, "linewidth": 1}
            panel.plot([point.cost for point in best], [point.accuracy for point in best], **line)


def _points(policies: Mapping[str, Any], labels: Sequence[str], cost_of: Callable[[Any], float]) -> list[Point]:
    return [Point(cost_of(policies[label]), 100 * policies[label]["accuracy"][0]) for label in labels]


def _reaches(policies: Mapping[str, Any], labels: Sequence[str]) -> list[list[float]]:
    """Return how far the intervals reach below the values, and how far above."""
    intervals = [policies[label]["accuracy"] for label in labels]
    below = [100 * (value - low) for value, low, _ in intervals]
    return [below, [100 * (high - value) for value, _, high in intervals]]


def _named(summary: Mapping[str, Any]) -> str:
    workload = summary.get("settings", {}).get("workload", {})
    return ":".join(str(value) for value in workload.values() if isinstance(value, str | int)) or "one workload"
