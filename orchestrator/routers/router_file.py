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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator import document
from orchestrator.document import is_table, is_text
from orchestrator.errors import BadConfig, UserError
from orchestrator.routers.features import HISTORY, NAMES, SIGNAL, UNCERTAINTY
from orchestrator.routers.forecast import Forecast

__all__ = ["FORMAT", "KIND", "MAX_LOGPROBS", "MAX_SAMPLES", "VERSION", "RouterFile", "check_pair", "parse"]

FORMAT, VERSION = "orchestrator-router", 1
KIND = document.Kind("router", FORMAT, VERSION, "orchestrator train-router")
MAX_FEATURES = 200
MAX_LOGPROBS = 100
"""Alternatives per token."""
MAX_SAMPLES = 10_000
"""Targets of one draft."""
CLASSIFIERS = ("escalation", "escalation-plain")
"""The scorers whose value is the chance that the large engine is better: what a served router can read."""


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
    def against(self) -> str:
        """The engine that wrote what drafts were compared with: a collection asks the last writer of its pair."""
        name: str = self.pair["writers"][-1]["name"]
        return name

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
        return document.digest(self.to_json())

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
    given = document.parse(data, file, KIND)
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
    check_pair(given["pair"])
    data = given["data"]
    if not isinstance(data.get("fitted_on"), list) or not all(isinstance(each, str) for each in data["fitted_on"]):
        raise UserError("its data does not say which tasks it was fitted on")
    forecast = Forecast.from_json(given, len(names))
    if more := given.keys() - {"format", "version", *_SHAPE, *forecast.to_json()}:
        raise UserError(f"it has keys that mean nothing here: {', '.join(sorted(more)[:3])}")
    _check_sense(forecast, names, given["logprobs"])
    return RouterFile(
        features=tuple(names), forecast=forecast, **{key: given[key] for key in _SHAPE if key != "features"}
    )


def _check_sense(forecast: Forecast, names: list[str], logprobs: int) -> None:
    """Raise UserError for what could be read, and would mean something else than it says."""
    if forecast.shape.kind == "served" and not (logprobs == 0 and names[0] in _CHANCES):
        raise UserError(f"a served router reads {' or '.join(_CHANCES)} and no logprobs, not {names[0]} and {logprobs}")
    if logprobs == 0 and (blind := [name for name in names if name in UNCERTAINTY]):
        raise UserError(f"it sees {', '.join(blind[:3])} and reads no logprobs (logprobs = 0)")


def check_pair(given: Any) -> None:
    """Raise UserError for what is no identity of a pair, as runtime/pairing.py writes it."""
    writers = given.get("writers") if isinstance(given, Mapping) and len(given) == 1 else None
    if not isinstance(writers, list) or len(writers) < 2:
        raise UserError("its pair has to be a table of the writers, two or more")
    for writer in writers:
        if not isinstance(writer, Mapping) or writer.keys() != set(_WRITER) or not all(map(is_text, writer.values())):
            raise UserError(f"a writer of its pair has {', '.join(_WRITER)}, which are texts")


def _is_signal(name: str) -> bool:
    return name.startswith(SIGNAL) and name != SIGNAL


def _is_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MAX_FEATURES
        and all(map(is_text, value))
        and len(set(value)) == len(value)
    )


def _is_samples(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_SAMPLES


def _is_logprobs(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_LOGPROBS


_CHANCES = tuple(SIGNAL + name for name in CLASSIFIERS)
_WRITER = ("name", "serves", "tokenizer", "greedy")
_SHAPE: Mapping[str, Any] = {
    "features": _is_names,
    "pair": is_table,
    "scorer": is_text,
    "samples": _is_samples,
    "logprobs": _is_logprobs,
    "measured": is_table,
    "data": is_table,
    "made": is_text,
    "package": is_text,
}
