"""What ways to choose modes came to, as a table: accuracy, tokens, and the share of the best modes' saving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf

from orchestrator.bench.mode_choice import best_modes
from orchestrator.bench.mode_gates import (
    GATES,
    Gate,
    Measured,
    Row,
    area,
    by_kind,
    calibrated,
    calibrated_by_kind,
    fixed,
    gated,
    guessed,
    measured,
)
from orchestrator.errors import UserError
from orchestrator.modes.by_kind import FirstTryByKind

__all__ = ["RISKS", "table"]

RISKS = (0.005, 0.0075, 0.01)
"""What thresholds are chosen for: chances to lose a task and, by kind, shares of accuracy."""
CONTROL = "first try, exact check"
HEAD = (
    f"{'policy':40} {'threshold':>9} {'at once':>7} {'right':>6}   {'less always think':>20} {'tokens':>6} {'saved':>6}"
    f" {'of best':>17} {'per right':>9}   best mode > chosen: tasks"
)


def table(fitted: Sequence[Row], rows: Sequence[Row]) -> str:
    """Return what every gate tells and comes to on `rows`, with thresholds chosen on `fitted`, and the controls."""
    return "\n".join([*_told(fitted, rows), "", HEAD, *_lines(fitted, rows)]) + "\n"


def _told(fitted: Sequence[Row], rows: Sequence[Row]) -> Iterator[str]:
    for name, of in (("calibration", fitted), ("report", rows)):
        yield f"{name}: {len(of)} tasks"
        for preset in dict.fromkeys(row["preset"] for row in of):
            own = [row for row in of if row["preset"] == preset]
            rights = (sum(row[key] for row in own) / len(own) for key in ("try_right", "think_right"))
            tokens = (sum(row[key] for row in own) / len(own) for key in ("try_tokens", "think_tokens"))
            yield "  {:8} {:5} tasks, right at once {:6.1%}, thinking {:6.1%}; tokens {:.1f} and {:.1f}".format(
                preset, len(own), *rights, *tokens
            )
    yield "how well gates tell right first tries from wrong ones (area under the curve), calibration tasks"
    for name, gate in GATES.items():
        yield f"  {name:24} {area(fitted, gate):.3f}"
    yield "of first tries that were written with such a probability per token, so many are right, report tasks"
    yield from _reliable(rows, GATES["first try, written"])


def _reliable(rows: Sequence[Row], gate: Gate) -> Iterator[str]:
    edges = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, inf)
    for low, high in pairwise(edges):
        own = [row["try_right"] for row in rows if low <= gate.reads(row) < high]
        if own:
            yield f"  {low:4g} to {min(high, 1):4g}  {len(own):5} tasks {sum(own) / len(own):6.1%}"


def _lines(fitted: Sequence[Row], rows: Sequence[Row]) -> Iterator[str]:
    yield _line("always think", None, measured(rows, guessed(rows, 1.0)))
    yield _line("never think", None, measured(rows, guessed(rows, 0.0)))
    best = best_modes(fixed(rows))
    known = [each for each in fixed(rows) if best[each.task] == each.mode]
    yield _line("best mode of each task", None, measured(rows, known))
    if "expression" in rows[0]:
        yield from _learning(fitted, rows)
    for name, gate in GATES.items():
        if not _is_recorded(rows, name):
            yield from _on(fitted, fitted, f"{name} (calibration tasks)", gate)
        elif name == CONTROL:
            yield _line(name, 1.0, measured(rows, gated(rows, gate, 1.0)))
        else:
            yield from _on(fitted, rows, name, gate)


def _learning(fitted: Sequence[Row], rows: Sequence[Row]) -> Iterator[str]:
    gate = GATES["first try, written"]
    for risk in RISKS:
        name = f"first try by kind, written, {risk:g}"
        try:
            threshold = calibrated_by_kind(fitted, gate, risk)
        except UserError as refusal:
            yield f"{name}: {refusal}"
            continue
        found = measured(rows, by_kind(rows, gate, threshold))
        yield _line(name, threshold, found)
        yield _line(f"  random at that share, {risk:g}", None, measured(rows, guessed(rows, 1 - found.stands)))
    usual = FirstTryByKind().threshold
    yield _line("first try by kind, written, as it comes", usual, measured(rows, by_kind(rows, gate, usual)))
    yield _line("exact check by kind", 1.0, measured(rows, by_kind(rows, GATES[CONTROL], 1.0)))


def _is_recorded(rows: Sequence[Row], name: str) -> bool:
    return name != "first try, agreement" or len(rows[0]["again"]) > 1


def _on(fitted: Sequence[Row], rows: Sequence[Row], name: str, gate: Gate) -> Iterator[str]:
    for risk in RISKS:
        label = f"{name}, {risk:g}"
        try:
            threshold = calibrated(fitted, gate, risk, 0.95)
        except UserError as refusal:
            yield f"{label}: {refusal}"
            continue
        found = measured(rows, gated(rows, gate, threshold))
        yield _line(label, threshold, found)
        if name == "first try, written":
            yield _line(f"  random at that share, {risk:g}", None, measured(rows, guessed(rows, 1 - found.stands)))


def _line(name: str, threshold: float | None, found: Measured) -> str:
    of = found.compared
    tokens = (of.cost_of_pass or 0.0) * of.accuracy
    share = "-" if of.share is None else f"{of.share:.0%}"
    if found.share is not None:
        share += f" ({100 * found.share.low:.0f}..{100 * found.share.high:.0f})"
    lost = f"{100 * found.lost.value:+.2f} ({100 * found.lost.low:+.2f}..{100 * found.lost.high:+.2f})"
    shown = "" if threshold is None else f"{threshold:.5f}"
    return (
        f"{name:40} {shown:>9} {found.stands:7.1%} {of.accuracy:6.1%}   {lost:>20} {tokens:6.1f} {of.saving:6.1%}"
        f" {share:>17} {of.cost_of_pass or 0:9.1f}   {_confusion(of.confusion)}"
    )


def _confusion(counts: Mapping[tuple[str, str], int]) -> str:
    return ", ".join(f"{best} > {chosen}: {number}" for (best, chosen), number in sorted(counts.items()))
