"""Conditions on signals, written as text: `prm > 0.9 or entropy_mean < 0.4 and not judge <= 3`.

    condition  = both { "or" both }          both       = single { "and" single }
    single     = "not" single | "(" condition ")" | name ( "<" | "<=" | ">" | ">=" ) number

Names may have hyphens; there is no arithmetic, and nothing is ever evaluated as code. A condition is decided on the
signals that are known so far, if they suffice: True or False whatever the others say, None if that depends on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, isfinite

from orchestrator.errors import UserError

__all__ = ["All", "Any", "Condition", "Linear", "Not", "parse"]

_TOKEN = re.compile(r"\s*(?:(<=|>=|<|>|\(|\))|([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])|([A-Za-z_][\w-]*))")
_DEEPEST = 50
_LONGEST = 10_000
"""Characters of a condition; nobody writes a longer one by hand."""
Ranges = Mapping[str, tuple[float, float]]
"""The least and the greatest value of each known name."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A weighted sum of signals compared with a number; a single comparison is a sum of one."""

    weights: tuple[tuple[str, float], ...]
    sign: str
    limit: float

    def decided(self, known: Mapping[str, float], ranges: Ranges) -> bool | None:
        """Return whether it holds, None if that depends on what is not known."""
        low = high = 0.0
        for name, weight in self.weights:
            if not weight:
                continue
            least, most = (known[name],) * 2 if name in known else ranges[name]
            ends = (weight * least, weight * most)
            low, high = low + min(ends), high + max(ends)
        at_low, at_high = self._holds(low), self._holds(high)
        return at_low if at_low == at_high else None

    def _holds(self, value: float) -> bool:
        match self.sign:
            case "<":
                return value < self.limit
            case "<=":
                return value <= self.limit
            case ">":
                return value > self.limit
        return value >= self.limit

    def open(self, known: Mapping[str, float], ranges: Ranges) -> Iterator[str]:
        """Yield the names that can still change what it says."""
        if self.decided(known, ranges) is None:
            yield from (name for name, weight in self.weights if weight and name not in known)


@dataclass(frozen=True, slots=True)
class Not:
    """Holds where its part does not."""

    part: Condition

    def decided(self, known: Mapping[str, float], ranges: Ranges) -> bool | None:
        """See Linear."""
        found = self.part.decided(known, ranges)
        return None if found is None else not found

    def open(self, known: Mapping[str, float], ranges: Ranges) -> Iterator[str]:
        """See Linear."""
        yield from self.part.open(known, ranges)


@dataclass(frozen=True, slots=True)
class _Several:
    parts: tuple[Condition, ...]

    def _decided(self, known: Mapping[str, float], ranges: Ranges, ends_at: bool) -> bool | None:
        found = [part.decided(known, ranges) for part in self.parts]
        return ends_at if ends_at in found else None if None in found else not ends_at

    def open(self, known: Mapping[str, float], ranges: Ranges) -> Iterator[str]:
        """See Linear."""
        if self.decided(known, ranges) is None:
            for part in self.parts:
                yield from part.open(known, ranges)

    def decided(self, known: Mapping[str, float], ranges: Ranges) -> bool | None:
        """See Linear."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class All(_Several):
    """Holds where every part does."""

    def decided(self, known: Mapping[str, float], ranges: Ranges) -> bool | None:
        """See Linear."""
        return self._decided(known, ranges, ends_at=False)


@dataclass(frozen=True, slots=True)
class Any(_Several):
    """Holds where a part does."""

    def decided(self, known: Mapping[str, float], ranges: Ranges) -> bool | None:
        """See Linear."""
        return self._decided(known, ranges, ends_at=True)


Condition = Linear | Not | All | Any


def parse(text: str, ranges: Ranges) -> Condition:
    """Return the condition that `text` states about the names of `ranges`.

    Raises UserError for what is not in the grammar, a name that is not known, all of which are listed, or a number
    outside what a signal can be, and for a text that is too long.
    """
    if len(text) > _LONGEST:
        raise UserError(f"{text[:20]!r}... has {len(text)} characters, more than {_LONGEST}: write a shorter condition")
    reader = _Reader(text, ranges)
    found = reader.condition(0)
    if reader.ahead:
        raise UserError(f"{text!r}: {reader.ahead!r} is left over: join conditions with `and` or `or`")
    return found


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str, ranges: Ranges) -> None:
        self._text, self._ranges = text, ranges
        self._tokens = _tokens(text)
        self.ahead = next(self._tokens, "")

    def _next(self) -> str:
        found, self.ahead = self.ahead, next(self._tokens, "")
        return found

    def condition(self, depth: int) -> Condition:
        parts = [self._both(depth)]
        while self.ahead == "or":
            self._next()
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _both(self, depth: int) -> Condition:
        parts = [self._single(depth)]
        while self.ahead == "and":
            self._next()
            parts.append(self._single(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _single(self, depth: int) -> Condition:
        if depth > _DEEPEST:
            raise UserError(f"{self._text!r} is nested deeper than {_DEEPEST} times")
        if self.ahead == "not":
            self._next()
            return Not(self._single(depth + 1))
        if self.ahead == "(":
            self._next()
            found = self.condition(depth + 1)
            if self._next() != ")":
                raise UserError(f"{self._text!r}: a parenthesis is not closed")
            return found
        return self._comparison()

    def _comparison(self) -> Linear:
        name, sign, number = self._next(), self._next(), self._next()
        if not name or name in "<=>=()" or name in ("and", "or") or name[0] in "+-.0123456789":
            raise UserError(f"{self._text!r}: {name or 'its end'!r} stands where a comparison like prm > 0.9 should")
        if name not in self._ranges:
            raise UserError(f"{self._text!r}: no signal {name!r}; known: {', '.join(self._ranges)}")
        if sign not in ("<", "<=", ">", ">="):
            raise UserError(f"{self._text!r}: {sign or 'nothing'!r} behind {name!r}; write <, <=, > or >=")
        try:
            limit = float(number) if number[:1] in "+-.0123456789" else inf
        except ValueError:
            limit = inf
        if not isfinite(limit):
            raise UserError(f"{self._text!r}: {number or 'nothing'!r} is no number to compare {name!r} with")
        least, most = self._ranges[name]
        if not least <= limit <= most:
            raise UserError(f"{self._text!r}: {name} is in [{least:g}, {most:g}], so never near {limit:g}")
        return Linear(((name, 1.0),), sign, limit)


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            raise UserError(f"{text!r}: cannot read {text[place:].strip()[:20]!r}")
        place = found.end()
        yield found[0].strip()
