"""What a trained router is worth on tasks it was not fitted on: as plain data, as lines, and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.errors import UserError
from orchestrator.learning.metrics import (
    Bools,
    Figure,
    Floats,
    auc,
    bootstrapped,
    caught,
    class_accuracy,
    ece,
    reliability,
    spearman,
)
from orchestrator.learning.table import Table
from orchestrator.routers.forecast import Forecast

__all__ = ["FEW", "check_plot", "lines", "measured", "plot", "told", "wasted"]

FEW = 500
"""Steps below which every figure is to be taken with its interval."""
SHARES = (0.1, 0.2, 0.3, 0.4)


def measured(forecast: Forecast, table: Table, threshold: float) -> dict[str, Any]:
    """Return the figures of a forecast on the rows of `table`, each with its interval, by task.

    `acc0` and `acc1` are the shares of rows where the large engine is not better, and is, that fall on their side
    of `threshold`; `caught` says how many of the latter are among the shares of drafts predicted highest.
    """
    predicted = np.array([forecast.chance(line) for line in table.values.tolist()])
    tasks = table.tasks.tolist()
    found = told(predicted, table.advantages, tasks, threshold)
    for name, advantages in table.also.items():
        found.setdefault("also", {})[name] = _told_apart(predicted, advantages > 0, tasks)
    return found


def told(predicted: Floats, gain: Floats, tasks: list[str], threshold: float) -> dict[str, Any]:
    """Return the same of predictions and advantages, one entry per row; `tasks` names the task of each."""
    pays = gain > 0
    return {
        "rows": len(tasks),
        "tasks": len(set(tasks)),
        "threshold": threshold,
        **_told_apart(predicted, pays, tasks),
        "spearman": bootstrapped(tasks, lambda rows: spearman(predicted[rows], gain[rows])),
        "acc0": bootstrapped(tasks, lambda rows: class_accuracy(predicted[rows], pays[rows], threshold, False)),
        "acc1": bootstrapped(tasks, lambda rows: class_accuracy(predicted[rows], pays[rows], threshold, True)),
        "ece": bootstrapped(tasks, lambda rows: ece(predicted[rows], pays[rows])),
        "reliability": [each._asdict() for each in reliability(predicted, pays)],
    }


def _told_apart(predicted: Floats, truth: Bools, tasks: list[str]) -> dict[str, Any]:
    """Return how often the truth is yes, and how well the predictions tell when."""

    def caught_at(share: float) -> Figure:
        return bootstrapped(tasks, lambda rows: caught(predicted[rows], truth[rows], share))

    return {
        "base_rate": bootstrapped(tasks, lambda rows: float(truth[rows].mean())),
        "auc": bootstrapped(tasks, lambda rows: auc(predicted[rows], truth[rows])),
        "caught": {f"{share:g}": caught_at(share) for share in SHARES},
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures as lines for people."""
    yield f"held-out: {found['rows']} drafts of {found['tasks']} tasks, [95% intervals by task]"
    yield f"  large is better (base rate)    {_figure(*found['base_rate'])}"
    yield f"  Spearman with the advantage    {_figure(*found['spearman'])}"
    yield f"  AUC                            {_figure(*found['auc'])}"
    yield f"  acc0 / acc1 at {found['threshold']:.3f}          {_figure(*found['acc0'])} / {_figure(*found['acc1'])}"
    yield f"  ECE                            {_figure(*found['ece'])}"
    yield from _caught_lines("advantages", found["caught"])
    for name, other in found.get("also", {}).items():
        yield f"by the word of {name}: base rate {_figure(*other['base_rate'])}, AUC {_figure(*other['auc'])}"
        yield from _caught_lines(f"of {name}", other["caught"])
    yield "  predicted    observed    drafts"
    for each in found["reliability"]:
        yield f"  {each['predicted']:9.3f}   {each['observed']:9.3f}   {each['number']:7}"


def wasted(both_wrong: Mapping[str, Any]) -> str:
    """Return P(large also wrong | small wrong) of all rows as a line, by the word of each scorer in their order."""
    words = (f"{_figure(*figure)} by {name}" for name, figure in both_wrong.items())
    return f"P(large also wrong | small wrong)  {', '.join(words)}"


def _figure(value: float | None, low: float | None, high: float | None) -> Figure:
    return Figure(*(float("nan") if each is None else each for each in (value, low, high)))


def _caught_lines(what: str, shares: Mapping[str, Any]) -> Iterator[str]:
    told = ", ".join(f"{float(share):.0%}: {_figure(*figure).value:.0%}" for share, figure in shares.items())
    yield f"  caught {what} by share sent   {told}"


def check_plot(file: Path) -> None:
    """Raise UserError if nothing can be drawn into such a file: asked before the work, not after it."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise UserError("plots need matplotlib: pip install 'reasoning-orchestrator[bench]'") from error
    if file.suffix[1:].lower() not in FigureCanvasBase.get_supported_filetypes():
        raise UserError(f"cannot write {file}: a plot is drawn by its ending; name one in .png, .pdf or .svg")


def plot(found: Mapping[str, Any], file: Path) -> None:
    """Draw predicted against observed into a file; its ending says how. Raises UserError as check_plot does."""
    check_plot(file)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(5.0, 5.0), layout="constrained")
    FigureCanvasAgg(picture)
    panel = picture.subplots()
    rows = found["reliability"]
    panel.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    sizes = [20 + 200 * row["number"] / found["rows"] for row in rows]
    panel.scatter([row["predicted"] for row in rows], [row["observed"] for row in rows], s=sizes, zorder=3)
    panel.set_xlabel("predicted chance that the large engine's step is better")
    panel.set_ylabel("share of steps where it was")
    panel.set_title(f"{found['rows']} held-out drafts, ECE {found['ece'][0]:.3f}", fontsize=10)
    panel.set_xlim(-0.02, 1.02)
    panel.set_ylim(-0.02, 1.02)
    panel.grid(alpha=0.25)
    try:
        picture.savefig(file, dpi=160)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {file}: {error}") from error
