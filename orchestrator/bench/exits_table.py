"""What a calibration of exits measured, for people: a line per risk beside the oracle, and the choice in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.bench.calibrating import written
from orchestrator.bench.columns import columns, wrapped
from orchestrator.bench.exits import oracle
from orchestrator.learning.exits import Thought
from orchestrator.monitors.exit_file import Mistake

__all__ = ["oracle_saving", "table"]

_HEADER = ("threshold", "ended", "saved %", "of oracle %", "mis-exits %", "harmed %", "right %")
_MISTAKES: Mapping[Mistake, str] = {
    "wrong": "ends on a wrong answer",
    "harmful": "ends on a wrong answer where the whole thought comes to a right one",
}


def oracle_saving(thoughts: Sequence[Thought]) -> float:
    """Return the share of all tokens of thought that the oracle saves; there is at least one thought with tokens."""
    whole = sum(thought.tokens for thought in thoughts)
    return 1 - sum(oracle(thought).tokens for thought in thoughts) / whole


def table(thoughts: Sequence[Thought], rows: Sequence[Mapping[str, Any]], risk: float, mistake: Mistake) -> str:
    """Return the report on `rows`, which are those of `at_risks`; the row of `risk` is the choice."""
    chosen = next(row for row in rows if row["risk"] == risk)
    right = sum(thought.is_right for thought in thoughts)
    lines: list[tuple[str, ...]] = [("whole thoughts", "", "0", "0.0", "", "", "", _percent(right / len(thoughts)))]
    lines += [_line(row, is_chosen=row is chosen) for row in rows if "refused" not in row]
    lines.append(("oracle", "", "", _percent(oracle_saving(thoughts)), "100.0", "", "", ""))
    note = (
        "ended: thoughts that an exit ends. saved: of all tokens of thought, looks taken off; oracle: right behind "
        "the first right answer. mis-exits: tasks whose thought ends on a wrong answer; harmed: of these, those whose "
        "whole thought came to a right one; up to: upper ends of one-sided 95% intervals."
    )
    refused = [wrapped(f"risk {written(row['risk'])}: {row['refused']}") for row in rows if "refused" in row]
    return "\n\n".join(
        ["\n".join([columns((f"{len(thoughts)} tasks", *_HEADER), lines, note), *refused]), _choice(chosen, mistake)]
    )


def _line(row: Mapping[str, Any], *, is_chosen: bool) -> tuple[str, ...]:
    of_oracle = row["of_oracle"]
    return (
        f"risk {written(row['risk'])}{' <' if is_chosen else ''}",
        f"{row['threshold']:.6g}",
        str(row["exits"]),
        _percent(row["saved"]),
        "-" if of_oracle is None else _percent(of_oracle),
        f"{_percent(row['mis_exits'])}, up to {_percent(row['mis_exits_most'])}",
        f"{_percent(row['harmed'])}, up to {_percent(row['harmed_most'])}",
        _percent(row["accuracy"]),
    )


def _choice(chosen: Mapping[str, Any], mistake: Mistake) -> str:
    return wrapped(
        f"At a risk of {written(chosen['risk'])} a new run {_MISTAKES[mistake]} with that chance at most, where its "
        f"task is drawn as these were: a thought ends from {chosen['threshold']:.6g} on. The threshold was chosen on "
        "these tasks, so report what it does on others."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
