"""When two answers that engines gave are the same one; whether one is right is another question (runtime/tasks.py)."""

from __future__ import annotations

import re

__all__ = ["NUMBER", "plain"]

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?")
"""A number as people write it: a sign, thousands, decimals, a fraction, a percentage."""


def plain(answer: str) -> str:
    """Return an answer so that two that differ in spaces, case, dollars, thousands or a full stop only are the same."""
    bare = "".join(answer.split()).strip("$.").casefold()
    return bare.replace(",", "") if NUMBER.fullmatch(bare) else bare
