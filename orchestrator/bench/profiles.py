"""Hardware and price profiles: the assumptions behind every modelled figure, in files anyone can read and replace."""

from __future__ import annotations

import tomllib
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from orchestrator.document import is_number
from orchestrator.errors import BadConfig, UnknownName
from orchestrator.ledger import Price

__all__ = ["DEFAULT_HARDWARE", "PRICES", "EngineHardware", "Hardware", "Prices", "hardware", "prices", "varied"]

DEFAULT_HARDWARE = "h200_1p5b_32b"
PRICES = ("self_hosted", "api")
"""Price profiles that every report has."""

_FOLDER = files("orchestrator.bench") / "profiles"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHardware:
    """What one engine takes."""

    decode_ms: float
    """Milliseconds per output token of one request."""
    prefill_per_s: float
    """Uncached prompt tokens per second."""
    params: float
    layers: int
    width: int
    gpus: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A machine with a model for each engine."""

    name: str
    call_ms: float
    """Milliseconds per request, beside its tokens."""
    batch: int
    """Requests that share a decode step; only `self_hosted` prices use it."""
    intensity: float
    """FLOPs per byte of memory traffic at which the GPU is balanced."""
    engines: Mapping[str, EngineHardware]

    def decode_weight(self, engine: str) -> float:
        """Return gamma of the PTE measure, prefill tokens that a decode step at a context of one token costs.

        Source: PTE: gamma = 2 * layers * width * intensity / params.
        """
        of = self.engines[engine]
        return 2 * of.layers * of.width * self.intensity / of.params


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a token costs, per engine, in output tokens of the large engine."""

    name: str
    engines: Mapping[str, Price]


def hardware(name: str, writers: Sequence[str], measuring: Sequence[str] = ()) -> Hardware:
    """Return a profile by name, or from a file ending in .toml, for a pipeline's engines.

    A profile of two writing engines serves any pipeline of two, by their order, and its table `measuring`
    every engine that only measures and that it does not name. Raises UnknownName or BadConfig.
    """
    table, where = _read(name, (DEFAULT_HARDWARE,))
    try:
        found = {key: EngineHardware(**values) for key, values in table["engines"].items()}
        of_measuring = {each: EngineHardware(**_measuring(table, each, where)) for each in measuring}
        profile = Hardware(
            name=table["name"],
            call_ms=table["call_ms"],
            batch=table["batch"],
            intensity=table["gpu"]["intensity"],
            engines={**of_measuring, **_matched(found, writers, where, of_measuring)},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadConfig(f"{where}: not a hardware profile: {error}; see {DEFAULT_HARDWARE} for its keys") from error
    _check_positive(profile, where)
    return profile


def prices(name: str, machine: Hardware, writers: Sequence[str], measuring: Sequence[str] = ()) -> Prices:
    """Return a price profile by name, or from a file ending in .toml.

    `self_hosted` follows from the machine: a token costs the share of its GPUs' time that it takes, at
    the profile's batch size; a cached prompt token costs nothing. Raises UnknownName or BadConfig.
    """
    if name == "self_hosted":
        return Prices(name=name, engines=_self_hosted(machine))
    table, where = _read(name, PRICES)
    try:
        found = {key: _checked_price(f"engines.{key}", values, where) for key, values in table["engines"].items()}
        of_measuring = {each: _checked_price("measuring", _measuring(table, each, where), where) for each in measuring}
        return Prices(name=table["name"], engines={**of_measuring, **_matched(found, writers, where, of_measuring)})
    except (KeyError, TypeError, AttributeError) as error:
        raise BadConfig(f"{where}: not a price profile: {error}; see api for its keys") from error


def varied(machine: Hardware) -> Iterator[tuple[str, Hardware]]:
    """Yield the machine with each of its figures halved, then doubled, and what was changed."""
    for word, factor in (("halved", 0.5), ("doubled", 2.0)):
        yield f"call_ms {word}", replace(machine, call_ms=machine.call_ms * factor)
        for name, each in machine.engines.items():
            for figure in ("decode_ms", "prefill_per_s"):
                other = replace(each, **{figure: getattr(each, figure) * factor})
                yield f"{name} {figure} {word}", replace(machine, engines={**machine.engines, name: other})


def _self_hosted(machine: Hardware) -> dict[str, Price]:
    def gpu_ms(of: EngineHardware) -> tuple[float, float]:
        return of.gpus * 1e3 / of.prefill_per_s, of.gpus * of.decode_ms / machine.batch

    unit = gpu_ms(list(machine.engines.values())[-1])[1]
    return {
        name: Price(prompt=prompt / unit, cached=0.0, output=output / unit)
        for name, each in machine.engines.items()
        for prompt, output in [gpu_ms(each)]
    }


def _measuring(table: Mapping[str, Any], engine: str, where: str) -> Any:
    if engine in table["engines"]:
        return table["engines"][engine]
    if "measuring" not in table:
        raise BadConfig(f"{where} has no table [measuring], and the engine {engine!r} only measures")
    return table["measuring"]


def _matched(
    all_found: Mapping[str, Any], engines: Sequence[str], where: str, measuring: Container[str]
) -> dict[str, Any]:
    found = {name: each for name, each in all_found.items() if name not in measuring}
    if set(engines) <= found.keys():
        return {name: found[name] for name in engines}
    if len(found) != len(engines):
        raise BadConfig(f"{where} knows the engines {', '.join(found)}; the pipeline has {', '.join(engines)}")
    return dict(zip(engines, found.values(), strict=True))


def _check_positive(profile: Hardware, where: str) -> None:
    figures = {"call_ms": profile.call_ms, "batch": profile.batch, "intensity": profile.intensity}
    for name, each in profile.engines.items():
        figures |= {f"engines.{name}.{key}": getattr(each, key) for key in EngineHardware.__slots__}
    for name, figure in figures.items():
        if not is_number(figure) or not figure > 0:
            raise BadConfig(f"{where}: {name} = {figure!r} must be a number above 0")


def _checked_price(place: str, prices: Mapping[str, Any], where: str) -> Price:
    for name in ("uncached", "cached", "output"):
        if not is_number(prices[name]) or prices[name] < 0:
            raise BadConfig(f"{where}: {place}.{name} = {prices[name]!r} must be a number, 0 or above")
    return Price(prompt=prices["uncached"], cached=prices["cached"], output=prices["output"])


def _read(name: str, known: Sequence[str]) -> tuple[dict[str, Any], str]:
    is_file = name.endswith(".toml")
    if not is_file and name not in known:
        raise UnknownName(f"no profile {name!r}; known: {', '.join(known)}, or a file.toml")
    source = Path(name) if is_file else _FOLDER / f"{name}.toml"
    try:
        return tomllib.loads(source.read_text("utf-8")), name
    except OSError as error:
        raise BadConfig(f"{name}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{name}: broken TOML: {error}") from error
