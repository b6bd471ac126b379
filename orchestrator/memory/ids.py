"""Names of runs: sixteen lowercase letters and digits that are safe in a shell and a URL.

The alphabet is Crockford's base 32: no i, l, o or u, so no id reads as another one, and none
can be the word `last`.
"""

from __future__ import annotations

import secrets
import time
from hashlib import blake2b

__all__ = ["derived", "run_id"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_CHARS = 9
_RANDOM_CHARS = 7
_BITS = 5


def _spell(number: int, length: int) -> str:
    return "".join(_ALPHABET[number >> _BITS * place & 31] for place in reversed(range(length)))


def run_id(now_s: float | None = None) -> str:
    """Return a new id; ids of different milliseconds sort by time.

    `now_s` is in seconds since the epoch, the clock's by default. Two ids made in the same
    millisecond, by any process, are equal with probability 2**-35.
    """
    milliseconds = int((time.time() if now_s is None else now_s) * 1000)
    return _spell(milliseconds, _TIME_CHARS) + _spell(secrets.randbits(_BITS * _RANDOM_CHARS), _RANDOM_CHARS)


def derived(*parts: str) -> str:
    """Return the id that belongs to `parts`: always the same one, and another for any other list of parts.

    It looks like the others but does not sort by time.
    """
    name = blake2b(digest_size=10)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        name.update(len(data).to_bytes(8, "little"))  # so that ("a", "bc") and ("ab", "c") differ
        name.update(data)
    return _spell(int.from_bytes(name.digest(), "big"), _TIME_CHARS + _RANDOM_CHARS)
