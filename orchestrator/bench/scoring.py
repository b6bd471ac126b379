"""Is an answer right?  Each scorer compares it with the gold answer and gives a number in [0, 1]."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from orchestrator.errors import UnknownName
from orchestrator.runtime.tasks import is_correct
from orchestrator.types import Task

__all__ = ["SCORERS", "Score", "exact", "numeric", "regex", "scorer_of"]

Score = Callable[[Task, str | None], float]
"""A task with its gold answer and what was answered, None for nothing -> 1 for right, 0 for wrong, or between."""

_NUMBER = re.compile(
    r"(?:(?<!\d)[-+])?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:/\d+|[eE][-+]?\d{1,3}(?!\d))?"
)
"""A sign, digits with or without commas at the thousands, decimals, then a denominator or an exponent."""
_TOLERANCE = Fraction(1, 10**6)


def exact(task: Task, answer: str | None) -> float:
    """1 if the answer is the gold one, outer blanks and ways to write a number aside, as in `orchestrator run`."""
    return float(bool(task.answer) and is_correct(answer, task.answer or ""))


def numeric(task: Task, answer: str | None) -> float:
    """1 if the last number of the answer equals the last number of the gold answer, to a millionth of it."""
    found, gold = _number(answer or ""), _number(task.answer or "")
    if found is None or gold is None:
        return 0.0
    return float(abs(found - gold) <= _TOLERANCE * abs(gold))


def regex(task: Task, answer: str | None) -> float:
    """1 if the whole answer matches the gold one, which is a regular expression; no answer matches none."""
    if answer is None or not task.answer:
        return 0.0
    return float(re.fullmatch(task.answer, answer.strip()) is not None)


SCORERS: dict[str, Score] = {"exact": exact, "numeric": numeric, "regex": regex}


def scorer_of(name: str) -> Score:
    """Return the scorer called `name`. Raises UnknownName, listing all."""
    if name not in SCORERS:
        raise UnknownName(f"no scorer named {name!r}; known: {', '.join(SCORERS)}, or file.py:function")
    return SCORERS[name]


def _number(text: str) -> Fraction | None:
    found = _NUMBER.findall(text.replace("\N{MINUS SIGN}", "-"))
    try:
        return Fraction(found[-1].replace(",", "")) if found else None
    except (ValueError, ZeroDivisionError):
        return None
