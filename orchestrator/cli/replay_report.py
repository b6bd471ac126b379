"""A replay as JSON data, and the values that `--what-if` asks at."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from orchestrator.cli.spans import span
from orchestrator.errors import UserError
from orchestrator.traces.replay_shown import rows_of

if TYPE_CHECKING:
    from orchestrator.traces.replay import Parted, Replayed

__all__ = ["plain", "values_of"]

_VALUES = 9
_NEAR = 100


def plain(made: Replayed) -> dict[str, Any]:
    """Return a replay as JSON data."""
    return {
        "run": made.run,
        "then": made.then,
        "policy": made.policy,
        "alike": len(made.alike),
        "flips": made.flips,
        "is_undecided": made.is_undecided,
        "parted": made.parted and _plain(made.parted),
        "from_the_tree": [{"run": each.run, **_plain(each.parted)} for each in made.path],
        "lacks": made.lacks and _plain(made.lacks),
        "left": made.left,
        "is_known": made.is_known,
        "unknown": made.unknown,
        "answer": made.answer,
        "is_bound": made.is_bound,
        "ledger": rows_of(made),
    }


def _plain(parted: Parted) -> dict[str, Any]:
    told, other = parted._asdict(), parted.other
    if other is not None:
        told["other"] = {"writer": other.writer, "text": other.text, "num_tokens": other.num_tokens}
    return told


def values_of(written: str, number: int | None) -> tuple[str, list[float]]:
    """Return the option and the values of `OPTION=LOW..HIGH`, both ends included: so many, by default all whole numbers
    between whole ends that are near. Raises UserError for what is none."""
    option, _, ends = written.partition("=")
    try:
        low, high = span(ends)
    except ValueError:
        low = high = float("nan")
    if not option.strip() or not (isfinite(low) and isfinite(high) and low < high):
        raise UserError(f"--what-if {written!r}: write it as threshold=0.5..0.9, the lower end first")
    if number is None:
        is_near = low.is_integer() and high.is_integer() and 1 < high - low <= _NEAR  # 0..1 is a share
        number = int(high - low) + 1 if is_near else _VALUES
    values = [round(low + (high - low) * each / (number - 1), 9) for each in range(number)]
    is_whole = all(value.is_integer() for value in values)  # an option may take nothing else
    return option.strip(), [int(value) for value in values] if is_whole else values
