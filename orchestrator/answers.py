"""When two answers that engines gave are the same one; whether one is right is another question (runtime/tasks.py)."""

from __future__ import annotations

import re

__all__ = ["NUMBER", "normal", "plain"]

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?")
"""A number as people write it: a sign, thousands, decimals, a fraction, a percentage."""
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


def plain(answer: str) -> str:
    """Return an answer so that two that differ in spaces, case, dollars, thousands or a full stop only are the same."""
    bare = "".join(answer.split()).strip("$.").casefold()
    return bare.replace(",", "") if NUMBER.fullmatch(bare) else bare


def normal(answer: str) -> str:
    """Return an answer so that two that are the same decimal number, or the same text without outer white space, are
    the same; commas before three digits and zeros behind the point do not count."""
    text = answer.strip()
    number = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    if not _DECIMAL.fullmatch(number):
        return text
    sign, digits = ("-", number[1:]) if number[0] == "-" else ("", number.lstrip("+"))
    whole, _, decimals = digits.partition(".")
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    value = f"{whole}.{decimals}" if decimals else whole
    return value if value == "0" else sign + value
