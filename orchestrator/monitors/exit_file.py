"""What was measured to stop thinking by, as one JSON document: plain numbers with all that says what they are good for.

    {"format": "orchestrator-exits", "version": 1,
     "signal": {"name": "trial-answer", "options": {"when": "candidates", ...}},   # all but threshold and acts
     "mistake": "wrong",             # what counts as one, see Mistake
     "worst": [0.41, null, ...],     # of each task, the highest score at which ending is one; null where none is
     "pair": {...},                  # the engines it was measured on; it is refused for others
     "under": {"delimiter": "...", "engines": {...}, "scorers": {...}, "router": ..., "mode": ..., "budget": {...}},
     "measured": {...},              # of thresholds chosen by it: risk, mis-exits, what was saved
     "tasks": {"workload": "...", "split": "calibration", "fingerprints": ["...", ...]},
     "made": "2026-11-27", "package": "0.1.0"}

Nothing in it is ever executed. Reading the bytes is for those who do input and output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, get_args

from orchestrator import document
from orchestrator.conformal import above, quantile
from orchestrator.document import is_number, is_table, is_text
from orchestrator.errors import BadConfig, UserError

__all__ = ["FORMAT", "KIND", "VERSION", "ExitFile", "Mistake", "parse", "threshold_of"]

FORMAT, VERSION = "orchestrator-exits", 1
KIND = document.Kind("calibration of exits", FORMAT, VERSION, "orchestrator calibrate-exits")


Mistake = Literal["wrong", "harmful"]
"""What an exit must not do: end a thought on a wrong answer, or on a wrong one where the whole thought came to a right
one. Where the engines are wrong more often than the risk, however long they think, only the latter can be kept."""


def threshold_of(worst: Sequence[float], risk: float, confidence: float | None = None) -> float:
    """Return the threshold at which ending the next thought is a mistake with chance `risk` at most.

    `worst` has the highest score at which it would be one for each task, minus infinity where it never would. However
    often a thought is looked at, it can end by a mistake only if its own highest such score reaches the threshold. At
    least 0. Raises UserError where there are too few tasks for the risk.
    """
    return max(0.0, above(quantile(worst, risk, confidence)))


@dataclass(frozen=True, kw_only=True)
class ExitFile:
    """What one signal read on tasks that were thought about to the end."""

    signal: str
    options: Mapping[str, Any]
    """Of the signal; under others its readings mean something else."""
    mistake: Mistake
    worst: tuple[float, ...]
    """One for each task, in no order that matters."""
    pair: Mapping[str, Any]
    """As runtime/pairing.py writes it."""
    under: Mapping[str, Any]
    measured: Mapping[str, Any]
    workload: str
    split: str
    fitted_on: tuple[str, ...]
    """Fingerprints of the tasks: what is reported must be others."""
    made: str
    package: str

    def __repr__(self) -> str:
        return f"<exits by {self.signal} {self.digest}>"

    @property
    def digest(self) -> str:
        """Names what is in it, wherever the file lies."""
        return document.digest(self.to_json())

    def settings(self) -> str:
        """Return what names it among the settings of a run."""
        return self.digest

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "signal": {"name": self.signal, "options": dict(self.options)},
            "mistake": self.mistake,
            "worst": [None if score == -inf else score for score in self.worst],
            "pair": dict(self.pair),
            "under": dict(self.under),
            "measured": dict(self.measured),
            "tasks": {"workload": self.workload, "split": self.split, "fingerprints": list(self.fitted_on)},
            "made": self.made,
            "package": self.package,
        }


def parse(data: bytes, file: str) -> ExitFile:
    """Return what is in the bytes of a file. Raises BadConfig, naming `file` and what is wrong with it."""
    given = document.parse(data, file, KIND)
    try:
        _check(given, _SHAPE, "")
        _check_number(given["worst"], given["tasks"]["fingerprints"])
    except UserError as error:
        raise BadConfig(f"{file} is no {KIND.noun}: {error}") from error
    signal, tasks = given["signal"], given["tasks"]
    return ExitFile(
        signal=signal["name"],
        options=signal["options"],
        mistake=given["mistake"],
        worst=tuple(-inf if score is None else float(score) for score in given["worst"]),
        pair=given["pair"],
        under=given["under"],
        measured=given["measured"],
        workload=tasks["workload"],
        split=tasks["split"],
        fitted_on=tuple(tasks["fingerprints"]),
        made=given["made"],
        package=given["package"],
    )


def _check(given: Any, shape: Mapping[str, Any], within: str) -> None:
    if not is_table(given) or given.keys() != shape.keys():
        wrong = sorted(map(str, set(shape) ^ set(given))) if is_table(given) else sorted(shape)
        raise UserError(f"{within or 'it'} has keys too many or too few: {', '.join(wrong)[:80]}")
    for key, wanted in shape.items():
        if isinstance(wanted, Mapping):
            _check(given[key], wanted, key)
        elif not wanted(given[key]):
            raise UserError(f"{within}{'.' * bool(within)}{key} = {given[key]!r:.60}")


def _check_number(worst: Sequence[Any], fingerprints: Sequence[str]) -> None:
    if len(worst) != len(fingerprints):
        raise UserError(f"worst has {len(worst)} scores, and tasks {len(fingerprints)} fingerprints: one each per task")


def _is_scores(value: Any) -> bool:
    return isinstance(value, list) and all(each is None or is_number(each) for each in value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


_SHAPE: Mapping[str, Any] = {
    "format": is_text,
    "version": lambda value: type(value) is int,
    "signal": {"name": is_text, "options": is_table},
    "mistake": lambda value: is_text(value) and value in get_args(Mistake),
    "worst": _is_scores,
    "pair": is_table,
    "under": {
        "delimiter": is_text,
        "engines": is_table,
        "scorers": is_table,
        "router": lambda _: True,
        "mode": lambda _: True,
        "budget": is_table,
    },
    "measured": is_table,
    "tasks": {"workload": is_text, "split": is_text, "fingerprints": _is_texts},
    "made": is_text,
    "package": is_text,
}
