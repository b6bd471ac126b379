"""What rule monitors read in a text: words, figures, equations, how alike two texts are, what is said again and again.

Everything here takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from string import punctuation
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Claim",
    "alike",
    "claims_in",
    "figures",
    "mentioned",
    "number",
    "powers",
    "repeated_phrase",
    "rights_of",
    "spaced",
    "words",
]

_LONGEST = 2_000
"""Characters of a text that figures and likeness are about, its last ones."""
_LONGEST_LOOP = 20_000
"""Characters of a text that are searched for phrases, its last ones."""
_REPEATED = 0.9
"""Share of the phrases of a loop that occur more than once."""
_PROBE = 4
"""Words at the end of a text that have to come again for it to end in a loop."""
_PARTING = punctuation + "".join(filter(str.isspace, map(chr, range(0x3001))))
_SPACES = str.maketrans(_PARTING, " " * len(_PARTING))
_NO_FIGURE = re.compile(r"[^\d+\-*/=<>^%]+")
_CLAIM = re.compile(
    r"(\d(?<![\w.)^+*/×·-]\d)(?<![)^+*/×·-] \d)[\d.]*) ?([-+*/×·]) ?(\d[\d.]*) ?= ?"
    r"(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(?![\d.]*\d)(?! ?[-+*/×·^])"
)
_FIRST = re.compile(r"[\d.]+")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(?:/(\d+))?")
_DIGITS = 40
"""Of a number that is compared as one."""


class Claim(NamedTuple):
    """An equation of two numbers: `38 * 4 = 152`."""

    left: str
    """Without spaces."""
    right: str
    is_true: bool
    """Whether the calculation says so."""


def words(text: str) -> list[str]:
    """Return the words and numbers of a text in lower case; punctuation parts them."""
    return text.lower().translate(_SPACES).split()


def spaced(text: str) -> str:
    """Return a text in lower case with each of its words between spaces, sooner than `words` parts them."""
    return f" {text.lower().translate(_SPACES)} "


def mentioned(terms: Iterable[str], text: str) -> int:
    """Return how many of some words, each counted once, a text has."""
    return len(set(terms).intersection(words(text)))


def figures(text: str) -> str:
    """Return the digits and operators at the end of a text in their order: what tells calculations from each other."""
    return _NO_FIGURE.sub(" ", text[-_LONGEST:]).strip()


def alike(one: str, other: str) -> float:
    """Return the share of neighbouring words that the ends of two texts have in common, in [0, 1] (Jaccard)."""
    pairs, others = _pairs(one), _pairs(other)
    return len(pairs & others) / len(pairs | others) if pairs or others else 1.0


def _pairs(text: str) -> set[tuple[str, str]]:
    found = words(text[-_LONGEST:])
    return set(zip(["", *found], found, strict=False))


def repeated_phrase(text: str, *, times: int, length: int = 12) -> tuple[str, int]:
    """Return the phrase of `length` words that a text repeats most often to its end, and how often; ("", 0): none.

    Nearly all phrases behind its first occurrence have to be repeated ones, since cases that are gone through one by
    one have phrases in common, too; and it has a letter in it, since rows of numbers are no phrases. Rolling hashes
    find it.
    """
    found = words(text[-_LONGEST_LOOP:])
    ends = (" ".join(found[end - _PROBE : end]) for end in (len(found), len(found) - length) if end >= length)
    if max(map(" ".join(found).count, ends), default=0) < times - 1:  # far cheaper than to count all phrases
        return "", 0
    hashed = np.fromiter((hash(word) for word in found), np.int64, len(found)).view(np.uint64)
    weighted = np.concatenate(([np.uint64(0)], np.cumsum(hashed * powers(len(found)), dtype=np.uint64)))
    sums = (weighted[length:] - weighted[:-length]) * powers(len(found))[: len(found) - length + 1][::-1]
    _, firsts, which, counts = np.unique(sums, return_index=True, return_inverse=True, return_counts=True)
    first = int(firsts[counts.argmax()])
    phrase = found[first : first + length]
    is_loop = counts.max() >= times and np.mean(counts[which[first:]] > 1) >= _REPEATED
    if not is_loop or not any(word.isalpha() for word in phrase):
        return "", 0
    return " ".join(phrase), int(counts.max())


@lru_cache(maxsize=64)
def powers(num: int) -> NDArray[np.uint64]:
    """Return the first powers of the base of rolling hashes, modulo 2**64."""
    base = np.full(num, 6_364_136_223_846_793_005, np.uint64)
    base[:1] = 1
    return np.cumprod(base, dtype=np.uint64)


def claims_in(text: str) -> list[Claim]:
    """Return the equations `number operator number = number` of a text with single spaces, in order."""
    return [_claim(found) for found in _CLAIM.finditer(text)] if "=" in text else []


def rights_of(left: str, text: str) -> list[str]:
    """Return the right sides that a text with single spaces gives the left side of a claim, in order."""
    first = _FIRST.match(left)
    place = text.find(first.group()) if first else -1
    rights = []
    while first and place >= 0:
        if (found := _CLAIM.match(text, place)) and (claim := _claim(found)).left == left:
            rights.append(claim.right)
        place = text.find(first.group(), place + 1)
    return rights


def _claim(found: re.Match[str]) -> Claim:
    one, sign, other, right = found.groups()
    sign, right = "*" if sign in "×·" else sign, right.replace(",", "")
    return Claim(f"{one}{sign}{other}", right, _holds(_exact(one), sign, _exact(other), _exact(right)))


def _exact(digits: str) -> int | Fraction | None:
    if len(digits) > _DIGITS or digits.count(".") > 1:
        return None
    return Fraction(digits.rstrip(".")) if "." in digits else int(digits)


def _holds(one: int | Fraction | None, sign: str, other: int | Fraction | None, right: int | Fraction | None) -> bool:
    if one is None or other is None or right is None:
        return False
    if sign == "/":
        return other != 0 and one == right * other
    return right == (one + other if sign == "+" else one - other if sign == "-" else one * other)


def number(text: str) -> Fraction | None:
    r"""Return a number written as `1,234.5`, `3/4`, `\frac{3}{4}`, `$5` or `50%`; None for anything else.

    The unit behind a number and the signs of currencies and per cent do not count.
    """
    plain = _FRACTION.sub(r"\1/\2", text[: 3 * _DIGITS]).replace(",", "").strip(" *$€£.\\%")
    found = _NUMBER.match(plain)
    if found is None or len(found.group()) > _DIGITS or any(char.isdigit() for char in plain[found.end() :]):
        return None
    top, bottom = found.groups()
    return Fraction(top) / int(bottom) if bottom and int(bottom) else Fraction(top) if not bottom else None
