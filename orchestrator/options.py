"""Checks of what a policy is told: each refuses in one line with whose option it is, its value and what it must be.

A check takes the object that has the options, or a mapping of them, and says by name what each must be. An option
whose default is None may be None.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.errors import UserError

__all__ = ["check_choice", "check_lists", "check_range", "check_texts", "check_whole", "listed"]

_RANGE = re.compile(r"([\[(])(\S+), (\S+?)([\])])")


def check_whole(who: str, of: object, /, *, most: int | None = None, **least: int) -> None:
    """Raise UserError for what is no whole number of at least so much, and of at most `most`."""
    for name, value, low in _given(of, least):
        if type(value) is not int or value < low or (most is not None and value > most):
            wanted = f", at least {low}" if most is None else f" from {low} to {most}"
            raise UserError(f"{who}: {name} = {value!r} must be a whole number{wanted}")


def check_range(who: str, of: object, /, **ranges: str) -> None:
    """Raise UserError for what is no number in a range such as `[0, 1]` or `(0, inf)`; NaN is in none.

    A range is told as it is written, with what stands behind it.
    """
    for name, value, written in _given(of, ranges):
        if not _is_in(value, written):
            raise UserError(f"{who}: {name} = {value!r} is not in {written}")


def check_choice(who: str, of: object, /, **known: Sequence[str]) -> None:
    """Raise UserError for what is none of the names that are known."""
    for name, value, names in _given(of, known):
        if value not in names:
            raise UserError(f"{who}: {name} = {value!r}; known: {', '.join(names)}")


def check_texts(who: str, of: object, /, **mends: str) -> None:
    """Raise UserError for what is no text, or a blank one and there is a mend for that."""
    for name, value, mend in _given(of, mends):
        if not isinstance(value, str):
            raise UserError(f"{who}: {name} = {value!r:.60} must be a text")
        if mend and not value.strip():
            raise UserError(f"{who}: {name} is empty: {mend}")


def check_lists(who: str, of: object, /, **nouns: str) -> None:
    """Raise UserError for what is no list; a text is none."""
    for name, value, noun in _given(of, nouns):
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise UserError(f"{who}: {name} = {value!r:.60} must be a list of {noun}")


def _given(of: object, wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name, what in wanted.items():
        value = of[name] if isinstance(of, Mapping) else getattr(of, name)
        if value is not None or getattr(type(of), name, "") is not None:
            yield name, value, what


def _is_in(value: Any, written: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    found = _RANGE.match(written)
    assert found is not None
    opens, low, high, closes = found.groups()
    is_above = value >= float(low) if opens == "[" else value > float(low)
    return is_above and (value <= float(high) if closes == "]" else value < float(high))


def listed(name: str, wanted: Any) -> Iterable[Any]:
    """Return what was given for option `name` if it is a list; a text is none. Raises UserError."""
    if isinstance(wanted, str) or not isinstance(wanted, Iterable):
        raise UserError(f"{name} = {wanted!r:.60}: give a list, () for none")
    return wanted
