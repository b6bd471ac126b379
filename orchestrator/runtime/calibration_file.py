"""The file of a calibration: its format, and whether a document has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from orchestrator import document
from orchestrator.document import is_number, is_table, is_text
from orchestrator.errors import BadConfig

__all__ = ["FORMAT", "VERSION", "tables"]

FORMAT, VERSION = "orchestrator-calibration", 2
_KIND = document.Kind("calibration", FORMAT, VERSION, "orchestrator calibrate")


def tables(file: str | PathLike[str]) -> Mapping[str, Any]:
    """Return the document in a file, every table of it with the keys and types that it has to have.

    Raises BadConfig naming the file and what is wrong with it.
    """
    path = str(file)
    given = document.parse(document.read(path, _KIND), path, _KIND)
    if given["version"] < VERSION:
        raise BadConfig(
            f"{path} has format version {given['version']}, which does not say how engines sampled: calibrate again"
        )
    _check(given, _SHAPE, path, "")
    if not given["fixes"]:
        raise BadConfig(f"{path} is no calibration: it fixes nothing")
    return given


def _of(is_one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: is_table(value) and all(map(is_one, value.values()))


_SHAPE: Mapping[str, Any] = {
    "format": is_text,
    "version": is_number,
    "router": {"name": is_text, "options": is_table},
    "fixes": _of(is_number),
    "target": {"kind": is_text, "value": is_number},
    "measured": is_table,
    "pair": is_table,
    "under": is_table,
    "tasks": {
        "workload": is_text,
        "split": is_text,
        "fingerprints": lambda value: isinstance(value, list) and all(map(is_text, value)),
    },
    "made": is_text,
    "package": is_text,
}


def _check(given: Any, shape: Mapping[str, Any], file: str, within: str) -> None:
    if not is_table(given) or given.keys() != shape.keys():
        known, here = set(shape), set(given) if is_table(given) else set()
        wrong = ", ".join(sorted(map(str, known ^ here)))
        raise BadConfig(f"{file} is no calibration: {within or 'it'} has keys too many or too few: {wrong}")
    for key, wanted in shape.items():
        if isinstance(wanted, Mapping):
            _check(given[key], wanted, file, f"{within}{key}")
        elif not wanted(given[key]):
            raise BadConfig(f"{file} is no calibration: {within}{'.' * bool(within)}{key} = {given[key]!r:.60}")
