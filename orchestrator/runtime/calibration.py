"""A threshold that was chosen on a user's own tasks, with everything that says what it is good for.

The file is one JSON document that `orchestrator calibrate` writes and a pipeline reads:

    {"format": "orchestrator-calibration", "version": 2,
     "router": {"name": "specreason", "options": {"reading": "greedy", ...}},   # what it was chosen under
     "fixes": {"threshold": 6.0},   # what was chosen
     "target": {"kind": "max-accuracy-loss", "value": 0.01},   # what for
     "measured": {...},   # of the choice, on the calibration split, with 95% intervals
     "pair": {...},   # the engines
     "under": {"delimiter": "\n\n", "engines": {...}, "scorers": {...}},   # see circumstances
     "tasks": {"workload": "...", "split": "calibration", "fingerprints": [...]},
     "made": "2026-11-27", "package": "0.1.0"}

It is refused where anything differs that the choice depends on: another pair, another router, another option of
it, other circumstances, such as another temperature, delimiter or judge's prompt, or another format. Budgets, monitors
and seeds may differ.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from os import PathLike
from typing import Any

from orchestrator import document
from orchestrator.doors import Needs
from orchestrator.errors import BadConfig, MissingCapability, UserError
from orchestrator.runtime.calibration_file import FORMAT, VERSION, tables
from orchestrator.runtime.circumstances import difference
from orchestrator.runtime.identity import policy_of, settings_of
from orchestrator.runtime.pairing import Pair

__all__ = [
    "Calibration",
    "check_calibrated",
    "check_fit",
    "check_monitor",
    "name_of",
    "options_of",
    "read",
    "uncalibrated",
]


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
    under: Mapping[str, Any]
    """What it was chosen under, besides the pair: see `circumstances`."""
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
        return document.digest(self.to_json())

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
            "under": dict(self.under),
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

    def check(self, pair: Pair, under: Mapping[str, Any]) -> None:
        """Raise BadConfig naming what differs if engines or circumstances are not those it was made with."""
        again = f"calibrate again, with `orchestrator calibrate --router {self.router}`"
        if found := self.pair.differs_from(pair):
            raise BadConfig(f"{self._named} is of another pair: {found}; {again}")
        if found := difference(self.under, under):
            raise BadConfig(f"{self._named} was made with {found}; give the same, or {again}")

    def check_given(self, router: Any, given: Collection[str]) -> None:
        """Raise BadConfig if one of the options of `router` that somebody `given` stated is fixed here otherwise."""
        for name, fixed in self.fixes.items():
            if name in given and (stated := getattr(router, name, None)) != fixed:
                raise BadConfig(
                    f"{self._named} fixes {name} = {fixed:g}, and {name} = {stated!r} is given besides: "
                    "leave one of them out"
                )

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
    return policy_of(router).name


def options_of(router: Any) -> dict[str, Any]:
    """Return a router's options as plain data; none where it is no data class."""
    if not is_dataclass(router):
        return {}
    found: dict[str, Any] = json.loads(json.dumps(settings_of(router)))
    found.pop("policy", None)
    return found


def check_fit(router: Any, calibration: Calibration | None, pair: Pair, under: Mapping[str, Any]) -> None:
    """Raise BadConfig naming what differs if a router, or its calibration, was made for other engines."""
    made_for = getattr(router, "pair", None)
    if made_for is not None:
        of = made_for if isinstance(made_for, Pair) else Pair.from_json(made_for)
        if difference := of.differs_from(pair):
            raise BadConfig(f"router {name_of(router)} was trained for another pair: {difference}; train one for these")
    if calibration is not None:
        calibration.check(pair, under)


def check_monitor(monitor: Any, pair: Pair, under: Mapping[str, Any]) -> None:
    """Raise BadConfig naming what differs if a monitor's file was made with other engines or circumstances.

    What the file does not speak of may be anything.
    """
    named = f"monitor {name_of(monitor)}"
    if found := Pair.from_json(monitor.pair).differs_from(pair):
        raise BadConfig(f"{named} was calibrated for another pair: {found}; calibrate it for these")
    spoken = {name: under.get(name) for name in monitor.under}
    if found := difference(monitor.under, spoken):
        raise BadConfig(f"{named} was calibrated with {found}; give the same, or calibrate again")


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
    given = tables(file)
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
        under=given["under"],
        workload=tasks["workload"],
        split=tasks["split"],
        fitted_on=tuple(tasks["fingerprints"]),
        made=given["made"],
        package=given["package"],
        file=str(file),
    )
