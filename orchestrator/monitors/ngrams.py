"""A text as numbers: which words and pieces of words are in it, how often, and which parts it says again.

Words and pairs of words have one half of the places, pieces of three to five bytes share them; which place each has
is a hash that is the same on every machine. Either kind is scaled to length 1, so that the many pieces do not drown
the few words. What is said again has places of its own, a share each: it means the same whatever is said.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:  # numpy takes 0.1 s to load, and whoever only names a monitor reads no text
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["NAME", "SIZE", "Counted", "counted"]

NAME = "ngrams-1"
"""Names what the numbers mean: weights that were fitted on others are refused."""
_BITS = 14
_LABELS = ("Step", "Thought", "Action", "Observation")
"""What parts begin with in the text of moves; lines that begin otherwise go on with the part above."""
SIZE = (1 << _BITS) + len(_LABELS)
"""Places."""
_LENGTHS = (3, 4, 5)
"""Of pieces, in bytes of UTF-8."""
_WORD = re.compile(r"\w+|[^\w\s]")
_MIX, _BASE = 0x9E3779B1, 0x01000193


class Counted(NamedTuple):
    """The places that a text has something in; a place may come up twice, and then both values count."""

    places: NDArray[np.int64]
    """In [0, SIZE)."""
    values: NDArray[np.float32]
    """Above 0, as many as places; the squares of all add up to at most 2 + the number of labels."""


def counted(text: str) -> Counted:
    """Return what is in a text; nothing for an empty one."""
    import numpy as np

    lower = text.lower()
    parts = [_scaled(_words(lower)), _scaled(_pieces(lower)), _again(text)]
    return Counted(np.concatenate([part.places for part in parts]), np.concatenate([part.values for part in parts]))


def _words(text: str) -> NDArray[np.int64]:
    import numpy as np

    words = _WORD.findall(text)
    pairs = [f"{first} {second}" for first, second in pairwise(words)]
    hashed = [crc32(each.encode("utf-8", "surrogatepass")) for each in (*words, *pairs)]
    return np.array(hashed, dtype=np.uint32).astype(np.int64) >> (32 - _BITS)


def _pieces(text: str) -> NDArray[np.int64]:
    import numpy as np

    mix, base = np.uint32(_MIX), np.uint32(_BASE)
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8).astype(np.uint32)
    found = []
    for length in _LENGTHS:
        number = max(0, len(data) - length + 1)
        hashed = np.full(number, length, dtype=np.uint32)
        for place in range(length):
            hashed = (hashed ^ data[place : place + number]) * base
        found.append((hashed ^ (hashed >> np.uint32(15))) * mix >> np.uint32(32 - _BITS))
    return np.concatenate(found).astype(np.int64)


def _scaled(places: NDArray[np.int64]) -> Counted:
    """Return each place once with the logarithm of its count, the whole of length 1."""
    import numpy as np

    counts = np.bincount(places, minlength=1 << _BITS)
    (there,) = counts.nonzero()
    values = np.log1p(counts[there])
    length = float(np.sqrt(values @ values)) or 1.0
    return Counted(there, (values / length).astype(np.float32))


def _again(text: str) -> Counted:
    """Return, for each label, the share of its parts that stand further up already, word for word."""
    import numpy as np

    told: dict[str, list[str]] = {label: [] for label in _LABELS}
    parts = told[_LABELS[0]]
    for line in text.split("\n"):
        label = line.partition(":")[0].partition(" ")[0]
        if label in told:
            parts = told[label]
            parts.append(line)
        elif parts:
            parts[-1] += f"\n{line}"
    shares = [1 - len(set(parts)) / len(parts) if parts else 0.0 for parts in told.values()]
    places = np.array([place for place, share in enumerate(shares) if share], dtype=np.int64)
    return Counted(places + (1 << _BITS), np.array([share for share in shares if share], dtype=np.float32))
