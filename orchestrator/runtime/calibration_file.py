"""The file of a calibration: its format, and whether a document has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

from orchestrator.errors import BadConfig

__all__ = ["FORMAT", "VERSION", "tables"]

FORMAT, VERSION = "orchestrator-calibration", 2
_MAX_BYTES = 16 << 20


def tables(file: str | PathLike[str]) -> Mapping[str, Any]:
    """Return the document in a file, every table of it with the keys and types that it has to have.

    Raises BadConfig naming the file and what is wrong with it.
    """
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
    return _checked(given, str(path))


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _checked(given: Any, file: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or given.get("format") != FORMAT:
        raise BadConfig(f"{file} is no calibration: it has no format {FORMAT!r}")
    version = given.get("version")
    if type(version) is not int or version < 1:
        raise BadConfig(f"{file} is no calibration: version = {version!r:.60}")
    if version > VERSION:
        raise BadConfig(f"{file} has format version {version!r:.20}, and this program knows {VERSION}: update it")
    if version < VERSION:
        raise BadConfig(f"{file} has format version {version}, which does not say how engines sampled: calibrate again")
    _check(given, _SHAPE, file, "")
    if not given["fixes"]:
        raise BadConfig(f"{file} is no calibration: it fixes nothing")
    return given


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    try:
        return type(value) in (int, float) and isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


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
    "under": _is_table,
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
