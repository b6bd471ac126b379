"""What a trained router is, as one JSON document: plain numbers with all that says what they are good for.

    {"format": "orchestrator-router", "version": 1, "kind": "logistic",
     "pair": {...},                       # the engines it was trained for; it is refused for others
     "scorer": "prm", "samples": 1,       # who said what is better, and over how many targets that is a mean
     "logprobs": 5,                       # alternatives per token that it reads of drafts
     "features": ["entropy_mean", ...],   # of routers/features.py; `signal:NAME` is what that scorer says of the draft
     "means": [...], "scales": [...], "weights": [...], "bias": 0.1,     # or "bias" and "trees"
     "calibration": {"slope": 1.0, "intercept": -0.9},
     "measured": {...},                   # on tasks it was not fitted on, with 95% intervals
     "data": {"fingerprint": "...", "rows": 9000, "tasks": 1200, "fitted_on": ["...", ...]},
     "made": "2026-11-27", "package": "0.1.0"}

Nothing in it is ever executed. Reading the bytes is for those who do input and output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from orchestrator.errors import BadConfig, UserError
from orchestrator.routers.features import HISTORY, NAMES, SIGNAL
from orchestrator.routers.forecast import Forecast

__all__ = ["FORMAT", "MAX_BYTES", "VERSION", "RouterFile", "parse"]

FORMAT, VERSION = "orchestrator-router", 1
MAX_BYTES = 16 << 20
MAX_FEATURES = 200
MAX_LOGPROBS = 100


@dataclass(frozen=True, kw_only=True)
class RouterFile:
    """One trained router."""

    features: tuple[str, ...]
    forecast: Forecast
    logprobs: int
    scorer: str
    samples: int
    pair: Mapping[str, Any]
    """As runtime/pairing.py writes it."""
    measured: Mapping[str, Any]
    data: Mapping[str, Any]
    made: str
    package: str

    def __repr__(self) -> str:
        return f"<router {self.digest}>"

    @property
    def uses(self) -> tuple[str, ...]:
        """Scorers that have to be asked about every draft."""
        return tuple(name.removeprefix(SIGNAL) for name in self.features if name.startswith(SIGNAL))

    @property
    def has_history(self) -> bool:
        """Whether it sees who wrote the steps before."""
        return not set(HISTORY).isdisjoint(self.features)

    @property
    def fitted_on(self) -> tuple[str, ...]:
        """Fingerprints of the tasks it was fitted or chosen on: what is reported must be others."""
        return tuple(self.data["fitted_on"])

    @property
    def digest(self) -> str:
        """Names what is in it, wherever the file lies."""
        return blake2b(json.dumps(self.to_json(), sort_keys=True).encode(), digest_size=8).hexdigest()

    def settings(self) -> str:
        """Return what names it among the settings of a run."""
        return self.digest

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {
            "format": FORMAT,
            "version": VERSION,
            **self.forecast.to_json(),
            "pair": dict(self.pair),
            "scorer": self.scorer,
            "samples": self.samples,
            "logprobs": self.logprobs,
            "features": list(self.features),
            "measured": dict(self.measured),
            "data": dict(self.data),
            "made": self.made,
            "package": self.package,
        }


def parse(data: bytes, file: str) -> RouterFile:
    """Return the router in the bytes of a file. Raises BadConfig, naming `file` and what is wrong with it."""
    if len(data) > MAX_BYTES:
        raise BadConfig(f"{file}: longer than {MAX_BYTES >> 20} MiB; is this the right file?")
    try:
        given = json.loads(data.decode(), parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise BadConfig(f"{file} is no router: not JSON that can be read: {error}") from error
    if not isinstance(given, Mapping) or given.get("format") != FORMAT:
        raise BadConfig(f"{file} is no router: it has no format {FORMAT!r}; `orchestrator train-router` makes one")
    version = given.get("version")
    if type(version) is not int or version < 1:
        raise BadConfig(f"{file} is no router: version = {version!r:.40}")
    if version > VERSION:
        raise BadConfig(f"{file} has format version {version}, and this program knows {VERSION}: update it")
    try:
        return _parsed(given)
    except UserError as error:
        raise BadConfig(f"{file} is no router: {error}") from error


def _parsed(given: Mapping[str, Any]) -> RouterFile:
    for key, is_one in _SHAPE.items():
        if key not in given:
            raise UserError(f"it has no {key}")
        if not is_one(given[key]):
            raise UserError(f"{key} = {given[key]!r:.60}")
    names = given["features"]
    unknown = [name for name in names if name not in NAMES and not _is_signal(name)]
    if unknown:
        raise UserError(f"it sees features that this program does not know: {', '.join(unknown[:3])}")
    data = given["data"]
    if not isinstance(data.get("fitted_on"), list) or not all(isinstance(each, str) for each in data["fitted_on"]):
        raise UserError("its data does not say which tasks it was fitted on")
    return RouterFile(
        features=tuple(names),
        forecast=Forecast.from_json(given, len(names)),
        **{key: given[key] for key in _SHAPE if key != "features"},
    )


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _is_signal(name: str) -> bool:
    return name.startswith(SIGNAL) and name != SIGNAL


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MAX_FEATURES
        and all(map(_is_text, value))
        and len(set(value)) == len(value)
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_LOGPROBS


_SHAPE: Mapping[str, Any] = {
    "features": _is_names,
    "pair": _is_table,
    "scorer": _is_text,
    "samples": _is_count,
    "logprobs": _is_count,
    "measured": _is_table,
    "data": _is_table,
    "made": _is_text,
    "package": _is_text,
}
