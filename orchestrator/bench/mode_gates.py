"""What gates of modes come to, worked out from tasks that were both answered at once and thought about.

A first try and a thought about the same task are draws that do not depend on each other, so a policy's run is put
together from them: where the gate lets the first answer stand it is that answer, and else the thought's; whatever was
written or asked on the way is paid.

Source: fixed sequence testing (Learn then Test, arXiv:2110.01052), for the gate that goes by kinds of task. Differs:
what is tested is the accuracy that is lost, with the interval that is reported, in which tasks that share an
expression count together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import exp, inf
from random import Random
from typing import Any, NamedTuple

from orchestrator.bench.mode_choice import Comparison, Tried, best_modes, compare
from orchestrator.bench.resampling import ratio_interval
from orchestrator.errors import UserError
from orchestrator.intervals import Interval, clustered
from orchestrator.modes.by_kind import FirstTryByKind
from orchestrator.modes.similar import kind_of
from orchestrator.monitors.exit_file import threshold_of

__all__ = [
    "GATES",
    "Gate",
    "Measured",
    "area",
    "by_kind",
    "calibrated",
    "calibrated_by_kind",
    "fixed",
    "gated",
    "guessed",
    "measured",
]

Row = Mapping[str, Any]
"""A task as benchmarks/modes.py writes it."""
NO_THINK, THINK = "no_think", "think"


class Gate(NamedTuple):
    """What lets an answer stand."""

    reads: Callable[[Row], float]
    asked: Callable[[Row], int]
    """Tokens of its questions."""
    is_before: bool = False
    """It is asked before anything is written: then no first try is thrown away."""


class Measured(NamedTuple):
    """A policy on tasks of the report split."""

    stands: float
    """Share of the tasks that are not thought about."""
    lost: Interval
    """Accuracy less that of always thinking, 95%."""
    share: Interval | None
    """What was saved, of what the best modes save, 95%; None where that is nothing, or often would be."""
    compared: Comparison


def _confidence(row: Row) -> float:
    answer, logprob = row["again"][0]
    return exp(logprob) if answer == row["try_answer"] and logprob is not None else 0.0


def _agreeing(trials: Sequence[tuple[str | None, float | None]], answer: str | None) -> float:
    return sum(each is not None and each == answer for each, _ in trials) / len(trials)


def _sure(row: Row) -> float:
    answer, logprob = row["before"][0]
    return 0.0 if answer is None or logprob is None else exp(logprob)


GATES: Mapping[str, Gate] = {
    "first try, written": Gate(lambda row: exp(row["written"]), lambda row: 0),
    "first try, confidence": Gate(_confidence, lambda row: row["probes"][len(row["before"])]),
    "first try, agreement": Gate(
        lambda row: _agreeing(row["again"], row["try_answer"]), lambda row: sum(row["probes"][len(row["before"]) :])
    ),
    "agreement before": Gate(
        lambda row: _agreeing(row["before"], row["before"][0][0]),
        lambda row: sum(row["probes"][: len(row["before"])]),
        is_before=True,
    ),
    "confidence before": Gate(_sure, lambda row: row["probes"][0], is_before=True),
    "first try, exact check": Gate(lambda row: float(row["try_right"]), lambda row: 0),
}


def calibrated(rows: Sequence[Row], gate: Gate, risk: float, confidence: float | None = None) -> float:
    """Return the threshold at which a task is lost, answered wrongly where a thought was right, with chance `risk`.

    Raises UserError where there are too few tasks for the risk.
    """
    lost = [gate.reads(row) if row["think_right"] and not row["try_right"] else -inf for row in rows]
    return threshold_of(lost, risk, confidence)


def gated(rows: Sequence[Row], gate: Gate, threshold: float) -> list[Tried]:
    """Return what the gate's policy makes of each task."""
    return [_run(row, gate.reads(row) >= threshold, gate.asked(row), gate.is_before) for row in rows]


def by_kind(rows: Sequence[Row], gate: Gate, threshold: float) -> list[Tried]:
    """Return what FirstTryByKind makes of the tasks in their order, if it begins without any experience."""
    policy, thoughts, found = FirstTryByKind(), Counter[str](), list[Tried]()
    for row in rows:
        kind = kind_of(row["expression"], policy.similar)
        if policy.skips(thoughts[kind]):
            run = _run(row, stands=False, asked=0, is_before=True)
        else:
            run = _run(row, gate.reads(row) >= threshold, gate.asked(row), gate.is_before)
        thoughts[kind] = 0 if run.mode == NO_THINK else thoughts[kind] + 1
        found.append(run)
    return found


def calibrated_by_kind(rows: Sequence[Row], gate: Gate, risk: float) -> float:
    """Return the lowest threshold, in hundredths, at which and above which FirstTryByKind costs at most `risk` of
    accuracy: the low end of the interval that `measured` gives. Raises UserError where there is none.

    The thresholds are tested from the safest on, until one fails.
    """
    best = None
    for hundredths in range(101, -1, -1):
        if -_lost(rows, by_kind(rows, gate, hundredths / 100)).low > risk:
            break
        best = hundredths / 100
    if best is None:
        raise UserError(f"no threshold is sure to cost at most {risk:g} of accuracy; there are {len(rows)}: take more")
    return best


def guessed(rows: Sequence[Row], share: float) -> list[Tried]:
    """Return what comes of thinking about a share of the tasks that is drawn: nothing is asked or thrown away."""
    return [_run(row, Random(f"mode {row['task']}").random() >= share, 0, is_before=True) for row in rows]


def fixed(rows: Sequence[Row]) -> list[Tried]:
    """Return each task in both modes."""
    return [
        tried
        for row in rows
        for tried in (
            Tried(row["task"], NO_THINK, row["try_right"], row["try_tokens"]),
            Tried(row["task"], THINK, row["think_right"], row["think_tokens"]),
        )
    ]


def measured(rows: Sequence[Row], chosen: Sequence[Tried]) -> Measured:
    """Return what was chosen beside always thinking and the best mode of each task; tasks that share an expression
    count together in the intervals."""
    stands = sum(each.mode == NO_THINK for each in chosen) / len(chosen)
    return Measured(stands, _lost(rows, chosen), _share(rows, chosen), compare(chosen, fixed(rows)))


def area(rows: Sequence[Row], gate: Gate) -> float:
    """Return the chance that a right first try reads higher than a wrong one, a tie counting half; NaN without both."""
    right = [gate.reads(row) for row in rows if row["try_right"]]
    wrong = [gate.reads(row) for row in rows if not row["try_right"]]
    pairs = len(right) * len(wrong)
    above = sum((high > low) + 0.5 * (high == low) for high in right for low in wrong)
    return above / pairs if pairs else float("nan")


def _alike(row: Row) -> str:
    return str(row.get("expression", row["task"]))


def _lost(rows: Sequence[Row], chosen: Sequence[Tried]) -> Interval:
    rights = [each.is_right for each in chosen], [row["think_right"] for row in rows]
    return clustered(*rights, [_alike(row) for row in rows])


def _share(rows: Sequence[Row], chosen: Sequence[Tried]) -> Interval | None:
    best, saved, most = best_modes(fixed(rows)), Counter[str](), Counter[str]()
    for row, each in zip(rows, chosen, strict=True):
        saved[_alike(row)] += row["think_tokens"] - each.cost
        most[_alike(row)] += row["think_tokens"] - row["try_tokens"] if best[row["task"]] == NO_THINK else 0
    return ratio_interval(list(saved.values()), list(most.values()))


def _run(row: Row, stands: bool, asked: int, is_before: bool) -> Tried:
    tried = row["try_tokens"] if stands or not is_before else 0
    thought = 0 if stands else row["think_tokens"]
    is_right = row["try_right"] if stands else row["think_right"]
    return Tried(row["task"], NO_THINK if stands else THINK, is_right, asked + tried + thought)
