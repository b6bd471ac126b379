"""A name with options in one word of a command line: `name:key=value:key=value`, several joined by `+`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any

from orchestrator.errors import UserError

__all__ = ["COMMA", "MOST", "listed", "outside", "parse", "parts", "swept", "value_of"]

MOST = 200
"""Settings that one sweep may have."""


COMMA = re.compile(",")
"""What stands between the specs of a command line."""
_OR = re.compile(r"\|")
_JOINT = re.compile(r"\+(?=[a-z])")
"""What joins two parts; the sign of a number does not."""


def parts(text: str) -> list[str]:
    """Return the parts that a spec or a label joins by `+`, one at least; brackets hold together what is in them."""
    return outside(_JOINT, text)


def listed(text: str) -> list[str]:
    """Return what `a|b` lists: one or more."""
    return outside(_OR, text)


def outside(sign: re.Pattern[str], text: str) -> list[str]:
    """Return `text` taken apart at each `sign` that stands outside of all brackets."""
    found, begin = [], 0
    for match in sign.finditer(text):
        before = text[: match.start()]
        if sum(map(before.count, "([{")) <= sum(map(before.count, ")]}")):
            found.append(text[begin : match.start()])
            begin = match.end()
    return [*found, text[begin:]]


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Return the name and its options as they were written. Raises UserError for what is no option."""
    name, *options = text.split(":")
    if not name:
        raise UserError(f"{text!r} has no name: write it like name:key=value")
    found: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals and found:  # a colon inside a value, such as file.py:function
            last = next(reversed(found))
            found[last] += f":{option}"
            continue
        if not equals or not key:
            raise UserError(f"{text!r}: {option!r} is no option: write it like {name}:key=value")
        if key in found:
            raise UserError(f"{text!r} gives {key} twice")
        found[key] = value
    return name, found


def value_of(text: str) -> Any:
    """Return the number, truth value or text that `text` stands for."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def swept(options: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield every setting of the options: `3..9` is each whole number, `0.1..0.9/0.2` goes in steps, `a|b` lists.

    Raises UserError for a range that is none, or for more than MOST settings.
    """
    choices = {key: _choices(key, text) for key, text in options.items()}
    total = 1
    for values in choices.values():
        total *= len(values)
    if total > MOST:
        raise UserError(f"{total} settings in one sweep are more than {MOST}: widen the steps")
    for setting in product(*choices.values()):
        yield dict(zip(choices, setting, strict=True))


def _choices(key: str, text: str) -> list[Any]:
    if len(several := listed(text)) > 1:
        return [value_of(each) for each in several]
    first, dots, rest = text.partition("..")
    if not dots:
        return [value_of(text)]
    last, _, step = rest.partition("/")
    try:
        low, high, by = Decimal(first), Decimal(last), Decimal(step or "1")
    except InvalidOperation:
        low = high = by = Decimal("nan")
    if not (low.is_finite() and high.is_finite() and by.is_finite()):
        raise UserError(f"{key}={text}: write a range like 3..9 or 0.1..0.9/0.2")
    if not (by > 0 and low <= high):
        raise UserError(f"{key}={text}: a range goes up, in steps above 0")
    if (high - low) / by >= MOST:
        raise UserError(f"{key}={text} has more than {MOST} settings: widen the steps")
    values = [low + place * by for place in range(int((high - low) / by) + 1)]
    return [int(value) if value == value.to_integral_value() else float(value) for value in values]
