"""Write a GGUF file: facts by name, then arrays of numbers, as llama.cpp reads them.

Version 3, little-endian, as the format's description has it: a header, each fact with the type of its value, each
array's name, shape and place, and behind them the numbers, every array beginning at a multiple of 32 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from struct import pack
from typing import Any

__all__ = ["Fact", "write"]

Fact = str | bool | int | float | Sequence[str] | Sequence[int]
"""What a file says of itself; whole numbers are at least 0 and below 2 ** 32."""

_MAGIC, _VERSION, _ALIGNED = b"GGUF", 3, 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_KINDS = {"float32": 0, "float16": 1}
"""Types of arrays."""


def write(path: Path, facts: Mapping[str, Fact], arrays: Mapping[str, Any]) -> None:
    """Write a file at `path`. `arrays` are of numpy, float16 or float32, by the names that llama.cpp gives them."""
    with path.open("wb") as file:
        file.write(_MAGIC + pack("<IQQ", _VERSION, len(arrays), len(facts)))
        for name, fact in facts.items():
            file.write(_text(name) + _typed(fact))
        place = 0
        for name, array in arrays.items():
            file.write(_text(name) + pack("<I", array.ndim) + _numbers(reversed(array.shape), "Q"))
            file.write(pack("<IQ", _KINDS[array.dtype.name], place))
            place += array.nbytes + -array.nbytes % _ALIGNED
        file.write(bytes(-file.tell() % _ALIGNED))
        for array in arrays.values():
            file.write(array.tobytes() + bytes(-array.nbytes % _ALIGNED))


def _typed(fact: Fact) -> bytes:
    """Return a value behind the number of its type."""
    match fact:
        case bool():
            return pack("<I?", _BOOL, fact)
        case int():
            return pack("<II", _UINT32, fact)
        case float():
            return pack("<If", _FLOAT32, fact)
        case str():
            return pack("<I", _STRING) + _text(fact)
    kind = _STRING if isinstance(fact[0], str) else _INT32
    head = pack("<IIQ", _ARRAY, kind, len(fact))
    return head + (b"".join(map(_text, fact)) if kind == _STRING else _numbers(fact, "i"))


def _text(text: Any) -> bytes:
    data = str(text).encode()
    return pack("<Q", len(data)) + data


def _numbers(numbers: Iterable[Any], kind: str) -> bytes:
    given = [*numbers]
    return pack(f"<{len(given)}{kind}", *given)
