"""A threshold that was chosen on a user's own tasks, with everything that says what it is good for.

The file is one JSON document that `orchestrator calibrate` writes and a pipeline reads:

    {"format": "orchestrator-calibration", "version": 1,
     "router": {"name": "specreason", "options": {"reading": "greedy", ...}},   # what it was chosen under
     "fixes": {"threshold": 6.0},   # what was chosen
     "target": {"kind": "max-accuracy-loss", "value": 0.01},   # what for
     "measured": {...},   # of the choice, on the calibration split, with 95% intervals
     "pair": {...}, "scorers": {"prm": "pocket-scorer"},   # the engines
     "tasks": {"workload": "...", "split": "calibration", "fingerprints": [...]},
     "made": "2026-11-27", "package": "0.1.0"}

It is refused where anything differs that the choice depends on: another pair, another router, another option of
it, another engine behind its scorer, or a newer format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from hashlib import blake2b
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

from orchestrator.engines.base import Capabilities
from orchestrator.engines.scorers.base import Scorer
from orchestrator.errors import BadConfig, MissingCapability, UserError
from orchestrator.routers.base import Needs
from orchestrator.runtime.build import policy_name, settings_of
from orchestrator.runtime.pairing import Pair

__all__ = [
    "UNCALIBRATED",
    "Calibration",
    "check_calibrated",
    "check_fit",
    "name_of",
    "options_of",
    "read",
    "serving_scorers",
    "uncalibrated",
]

FORMAT, VERSION = "orchestrator-calibration", 1
UNCALIBRATED = "uncalibrated: the threshold was not chosen for these engines"
"""What a run without a calibration is marked with."""
_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was chosen, for whom, and on what."""

    router: str
    """The router's registered name, or the place of its class."""
    options: Mapping[str, Any]
    """Every option of the router but those that are fixed: under others the choice means nothing."""
    fixes: Mapping[str, float]
    """The options that were chosen, usually `threshold`."""
    target: str
    """What it was chosen for, as the command has it: `max-accuracy-loss`, `risk`, ..."""
    value: float
    """How much of it."""
    measured: Mapping[str, Any]
    """Plain data: figures of the choice on the calibration tasks, with 95% intervals."""
    pair: Pair
    scorers: Mapping[str, str]
    """The scorers that the router asks, and what serves them; empty text for a function."""
    workload: str
    split: str
    fitted_on: tuple[str, ...]
    """Fingerprints of the tasks: what is reported must be others."""
    made: str
    """Date, as 2026-11-27."""
    package: str
    """Version of this package."""
    file: str = ""
    """Where it was read from."""

    def __str__(self) -> str:
        fixed = ", ".join(f"{name} = {value:g}" for name, value in self.fixes.items())
        number = len(self.fitted_on)
        tasks = f"{number} task{'s' * (number != 1)} of {self.workload}"
        return f"calibrated for {self.target} {self.value:g} on {tasks}, {self.made}: {fixed}"

    @property
    def digest(self) -> str:
        """Names what is in it, wherever the file lies: a resumed run must have the same."""
        return blake2b(json.dumps(self.to_json(), sort_keys=True).encode(), digest_size=8).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "router": {"name": self.router, "options": dict(self.options)},
            "fixes": dict(self.fixes),
            "target": {"kind": self.target, "value": self.value},
            "measured": dict(self.measured),
            "pair": self.pair.to_json(),
            "scorers": dict(self.scorers),
            "tasks": {"workload": self.workload, "split": self.split, "fingerprints": list(self.fitted_on)},
            "made": self.made,
            "package": self.package,
        }

    def laid_over(self, router: Any) -> Any:
        """Return the router with what was chosen. Raises BadConfig naming what differs from what it was chosen under.

        An option that is fixed here must have its default or the chosen value there.
        """
        if name_of(router) != self.router:
            raise BadConfig(f"{self._named} is for router {self.router}, not {name_of(router)}")
        self._check_options(router)
        try:
            return replace(router, **dict(self.fixes))
        except (UserError, TypeError) as error:
            raise BadConfig(f"{self._named}: {error}") from error

    def check(self, pair: Pair, scorers: Mapping[str, str]) -> None:
        """Raise BadConfig naming what differs if the engines are not those it was made with."""
        again = f"calibrate again, with `orchestrator calibrate --router {self.router}`"
        if difference := self.pair.differs_from(pair):
            raise BadConfig(f"{self._named} is of another pair: {difference}; {again}")
        for name in self.scorers.keys() | scorers.keys():
            before, now = self.scorers.get(name), scorers.get(name)
            if before != now:
                raise BadConfig(f"{self._named}: scorer {name!r} was served by {before!r}, now {now!r}; {again}")

    def _check_options(self, router: Any) -> None:
        here = options_of(router)
        for name, fixed in self.fixes.items():
            default = next((each.default for each in fields(router) if each.name == name), MISSING)
            if name not in here or (here[name] not in (fixed, default)):
                stated = f"{name} = {here[name]!r} is given besides" if name in here else f"no option {name}"
                raise BadConfig(f"{self._named} fixes {name} = {fixed:g}, and {stated}: leave one of them out")
        for name in sorted((here.keys() | self.options.keys()) - self.fixes.keys()):
            if here.get(name) != self.options.get(name):
                raise BadConfig(
                    f"{self._named} was made with {name} = {self.options.get(name)!r}, not {here.get(name)!r}; "
                    "give the same, or calibrate again"
                )

    @property
    def _named(self) -> str:
        return f"calibration {self.file}".strip()


def name_of(router: Any) -> str:
    """Return the name under which a router is registered, or the place of its class."""
    return policy_name(router).rpartition(" ")[0]


def options_of(router: Any) -> dict[str, Any]:
    """Return a router's options as plain data; none where it is no data class."""
    if not is_dataclass(router):
        return {}
    found: dict[str, Any] = json.loads(json.dumps(settings_of(router)))
    found.pop("policy", None)
    return found


def serving_scorers(
    router: Any, scorers: Mapping[str, Scorer], found: Mapping[str, Capabilities], largest: str
) -> dict[str, str]:
    """Return the scorers that a router asks and the name of what serves each."""
    needs: Needs = getattr(router, "needs", Needs())
    return {name: found[scorers[name].engine or largest].model for name in needs.scorers if name in scorers}


def check_fit(router: Any, calibration: Calibration | None, pair: Pair, scorers: Mapping[str, str]) -> None:
    """Raise BadConfig naming what differs if a router, or its calibration, was made for other engines."""
    made_for = getattr(router, "pair", None)
    if made_for is not None:
        of = made_for if isinstance(made_for, Pair) else Pair.from_json(made_for)
        if difference := of.differs_from(pair):
            raise BadConfig(f"router {name_of(router)} was trained for another pair: {difference}; train one for these")
    if calibration is not None:
        calibration.check(pair, scorers)


def check_calibrated(router: Any, calibration: Calibration | None) -> None:
    """Raise MissingCapability if a router is nothing without a calibration and has none."""
    if refusal := uncalibrated(router, calibration):
        raise MissingCapability(refusal)


def uncalibrated(router: Any, calibration: Calibration | None) -> str:
    """Return why a run would be refused for want of a calibration; empty if it would not be."""
    needs: Needs = getattr(router, "needs", Needs())
    if not needs.calibrated or calibration is not None:
        return ""
    name = name_of(router)
    return (
        f"router {name} has no calibration for these engines: `orchestrator calibrate --router {name} --tasks "
        "TASKS.jsonl --out calibration.json`, then --calibration calibration.json"
    )


def read(file: str | PathLike[str]) -> Calibration:
    """Return the calibration in a file. Raises BadConfig naming the file and what is wrong with it."""
    path = Path(file)
    try:
        with path.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}; `orchestrator calibrate` makes a calibration") from error
    if len(data) > _MAX_BYTES:
        raise BadConfig(f"{path}: longer than {_MAX_BYTES >> 20} MiB; is this the right file?")
    try:
        given = json.loads(data.decode(), parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise BadConfig(f"{path} is no calibration: {error}") from error
    return _parsed(given, str(path))


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _parsed(given: Any, file: str) -> Calibration:
    if not isinstance(given, Mapping) or given.get("format") != FORMAT:
        raise BadConfig(f"{file} is no calibration: it has no format {FORMAT!r}")
    version = given.get("version")
    if type(version) is not int or version < 1:
        raise BadConfig(f"{file} is no calibration: version = {version!r}")
    if version > VERSION:
        raise BadConfig(f"{file} has format version {version}, and this program knows {VERSION}: update it")
    _check(given, _SHAPE, file, "")
    if not given["fixes"]:
        raise BadConfig(f"{file} is no calibration: it fixes nothing")
    try:
        pair = Pair.from_json(given["pair"])
    except UserError as error:
        raise BadConfig(f"{file}: {error}") from error
    tasks = given["tasks"]
    return Calibration(
        router=given["router"]["name"],
        options=given["router"]["options"],
        fixes=given["fixes"],
        target=given["target"]["kind"],
        value=given["target"]["value"],
        measured=given["measured"],
        pair=pair,
        scorers=given["scorers"],
        workload=tasks["workload"],
        split=tasks["split"],
        fitted_on=tuple(tasks["fingerprints"]),
        made=given["made"],
        package=given["package"],
        file=file,
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _of(is_one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: _is_table(value) and all(map(is_one, value.values()))


_SHAPE: Mapping[str, Any] = {
    "format": _is_text,
    "version": _is_number,
    "router": {"name": _is_text, "options": _is_table},
    "fixes": _of(_is_number),
    "target": {"kind": _is_text, "value": _is_number},
    "measured": _is_table,
    "pair": _is_table,
    "scorers": _of(_is_text),
    "tasks": {
        "workload": _is_text,
        "split": _is_text,
        "fingerprints": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    },
    "made": _is_text,
    "package": _is_text,
}


def _check(given: Any, shape: Mapping[str, Any], file: str, within: str) -> None:
    if not _is_table(given) or given.keys() != shape.keys():
        known, here = set(shape), set(given) if _is_table(given) else set()
        wrong = ", ".join(sorted(map(str, known ^ here)))
        raise BadConfig(f"{file} is no calibration: {within or 'it'} has keys too many or too few: {wrong}")
    for key, wanted in shape.items():
        if isinstance(wanted, Mapping):
            _check(given[key], wanted, file, f"{within}{key}")
        elif not wanted(given[key]):
            raise BadConfig(f"{file} is no calibration: {within}{'.' * bool(within)}{key} = {given[key]!r:.60}")
