"""What a trained monitor is, as one JSON document: plain numbers with all that says what they are good for.

    {"format": "orchestrator-monitor", "version": 1, "kind": "stuck",
     "window": 6, "min_moves": 3,         # moves that it reads, and below how many it never speaks
     "reads": "ngrams-1",                 # how the text becomes numbers, see monitors/ngrams.py
     "weights": "AAAA...", "bias": 0.1,   # float32, little-endian, base64: one for each place
     "threshold": 0.7,                    # chosen on the validation tasks
     "measured": {...},                   # on tasks it was not fitted on, with 95% intervals
     "data": {"fingerprint": "...", "labels": ["rules"], "rows": 900, "tasks": 120, "fitted_on": ["...", ...]},
     "made": "2026-11-27", "package": "0.1.0"}

Nothing in it is ever executed. Reading the bytes is for those who do input and output.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from typing import Any

from orchestrator import document
from orchestrator.document import is_number, is_table, is_text
from orchestrator.errors import BadConfig, UserError
from orchestrator.monitors import ngrams

__all__ = ["FORMAT", "KIND", "KINDS", "MAX_MOVES", "VERSION", "MonitorFile", "check_kind", "parse"]

FORMAT, VERSION = "orchestrator-monitor", 1
KIND = document.Kind("monitor", FORMAT, VERSION, "orchestrator train-monitor")
KINDS = ("stuck", "milestone")
MAX_MOVES = 100
_FLOAT, _FLOAT_BYTES = "<f4", 4


@dataclass(frozen=True, kw_only=True)
class MonitorFile:
    """One trained monitor."""

    kind: str
    """One of KINDS."""
    window: int
    """Moves that it reads, in [1, MAX_MOVES]."""
    min_moves: int
    """Moves before it may speak, in [1, MAX_MOVES]."""
    weights: bytes = field(repr=False)
    """ngrams.SIZE numbers of four bytes."""
    bias: float
    threshold: float
    """In [0, 1]."""
    measured: Mapping[str, Any]
    data: Mapping[str, Any]
    made: str
    package: str

    def __repr__(self) -> str:
        return f"<monitor {self.kind} {self.digest}>"

    def chance(self, text: str) -> float:
        """Return how likely a text tells of what it was trained to notice, in [0, 1]."""
        import numpy as np  # late, as in ngrams

        places, values = ngrams.counted(text)
        weights = np.frombuffer(self.weights, dtype=_FLOAT)
        score = self.bias + float(weights[places].astype(float) @ values)
        return 1 / (1 + exp(-score)) if score > -700 else 0.0

    @property
    def fitted_on(self) -> tuple[str, ...]:
        """Fingerprints of the tasks it was fitted or chosen on: what is reported must be others."""
        return tuple(self.data["fitted_on"])

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
            "kind": self.kind,
            "window": self.window,
            "min_moves": self.min_moves,
            "reads": ngrams.NAME,
            "weights": b64encode(self.weights).decode(),
            "bias": self.bias,
            "threshold": self.threshold,
            "measured": dict(self.measured),
            "data": dict(self.data),
            "made": self.made,
            "package": self.package,
        }


def check_kind(kind: str) -> None:
    """Raise UserError for what no monitor can be trained to notice."""
    if kind not in KINDS:
        raise UserError(f"a trained monitor notices {' or '.join(KINDS)}, not {kind!r:.40}")


def parse(data: bytes, file: str) -> MonitorFile:
    """Return the monitor in the bytes of a file. Raises BadConfig, naming `file` and what is wrong with it."""
    given = document.parse(data, file, KIND)
    try:
        return _parsed(given)
    except UserError as error:
        raise BadConfig(f"{file} is no monitor: {error}") from error


def _parsed(given: Mapping[str, Any]) -> MonitorFile:
    for key, is_one in _SHAPE.items():
        if key not in given:
            raise UserError(f"it has no {key}")
        if not is_one(given[key]):
            raise UserError(f"{key} = {given[key]!r:.60}")
    if more := given.keys() - {"format", "version", *_SHAPE}:
        raise UserError(f"it has keys that mean nothing here: {', '.join(sorted(more)[:3])}")
    check_kind(given["kind"])
    if given["reads"] != ngrams.NAME:
        raise UserError(f"it reads {given['reads']!r:.40}, and this program {ngrams.NAME!r}: train it anew")
    fitted_on = given["data"].get("fitted_on")
    if not isinstance(fitted_on, list) or not all(isinstance(each, str) for each in fitted_on):
        raise UserError("its data does not say which tasks it was fitted on")
    kept = {key: given[key] for key in _SHAPE if key not in ("weights", "reads")}
    return MonitorFile(weights=_weights(given["weights"]), **kept)


def _weights(text: str) -> bytes:
    import numpy as np

    try:
        data = b64decode(text, validate=True)
    except (NotBase64, ValueError) as error:
        raise UserError(f"its weights are no base64: {error}") from error
    if len(data) != ngrams.SIZE * _FLOAT_BYTES:
        raise UserError(f"its weights are {len(data)} bytes long, and have to be {ngrams.SIZE * _FLOAT_BYTES}")
    if not np.isfinite(np.frombuffer(data, dtype=_FLOAT)).all():
        raise UserError("its weights are not all finite numbers")
    return data


def _is_moves(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_MOVES


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


_SHAPE: Mapping[str, Any] = {
    "kind": is_text,
    "window": _is_moves,
    "min_moves": _is_moves,
    "reads": is_text,
    "weights": is_text,
    "bias": is_number,
    "threshold": _is_share,
    "measured": is_table,
    "data": is_table,
    "made": is_text,
    "package": is_text,
}
