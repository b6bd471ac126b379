"""A file of ours that holds one JSON document: read strictly, of a known format and version, and never executed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from math import isfinite
from typing import Any, NamedTuple

from orchestrator.errors import BadConfig

__all__ = ["MAX_BYTES", "Kind", "digest", "is_number", "is_table", "is_text", "parse", "read", "strict_json"]

MAX_BYTES = 16 << 20


class Kind(NamedTuple):
    """What a document is."""

    noun: str
    """What people call it, such as `router`."""
    format: str
    version: int
    """The newest version of the format that this program knows; 1 is the first."""
    maker: str
    """The command that writes one."""


def read(path: str, kind: Kind) -> bytes:
    """Return the bytes of a file, one more than MAX_BYTES at the most. Raises BadConfig if it cannot be read."""
    try:
        with open(path, "rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}; `{kind.maker}` makes a {kind.noun}") from error


def parse(data: bytes, file: str, kind: Kind) -> Mapping[str, Any]:
    """Return the document in the bytes of `file`, of `kind` and of no newer version; what else is in it is unchecked.

    Raises BadConfig, naming `file` and what is wrong with it.
    """
    if len(data) > MAX_BYTES:
        raise BadConfig(f"{file}: longer than {MAX_BYTES >> 20} MiB; is this the right file?")
    try:
        given = strict_json(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadConfig(f"{file} is no {kind.noun}: not JSON that can be read: {error}") from error
    if not is_table(given) or given.get("format") != kind.format:
        raise BadConfig(f"{file} is no {kind.noun}: it has no format {kind.format!r}; `{kind.maker}` makes one")
    version = given.get("version")
    if type(version) is not int or version < 1:
        raise BadConfig(f"{file} is no {kind.noun}: version = {version!r:.40}")
    if version > kind.version:
        raise BadConfig(f"{file} has format version {version!r:.20}, and this program knows {kind.version}: update it")
    found: Mapping[str, Any] = given
    return found


def digest(document: Mapping[str, Any]) -> str:
    """Name what is in a document, wherever its file lies."""
    return blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=8).hexdigest()


def strict_json(text: str) -> Any:
    """Return the JSON value that is all of `text`. Raises ValueError for anything else, NaN and a name that is there
    twice included, and RecursionError where it is nested too deeply."""
    return json.loads(text, parse_constant=_refused, object_pairs_hook=_once)


def is_number(value: Any) -> bool:
    """Return whether a value of a document is a number that can be computed with: finite, and no boolean."""
    try:
        return type(value) in (int, float) and isfinite(value)
    except OverflowError:  # a whole number with more than 308 digits
        return False


def is_text(value: Any) -> bool:
    """Return whether a value of a document is a text."""
    return isinstance(value, str)


def is_table(value: Any) -> bool:
    """Return whether a value of a document is an object with names."""
    return isinstance(value, Mapping)


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"{next(name for name in counts if counts[name] > 1)} is there twice")
    return found
