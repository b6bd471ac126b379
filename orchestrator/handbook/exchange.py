"""Behaviors as files: JSONL with everything that one is, and playbooks of bullets.

A file is a stranger's text. What is no behavior is refused, with the whole file; what reads like an order to an engine
is left out, for a person to add by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from json import dumps
from typing import Any, NamedTuple

from orchestrator.behaviors import PREFIX, Add, Behavior
from orchestrator.document import is_table, strict_json
from orchestrator.errors import UserError
from orchestrator.handbook.bullets import bullets_in
from orchestrator.handbook.orders import order_in

__all__ = ["Found", "line", "read"]

_OWN = ("id", "version", "is_active", "merged_into")
"""What a behavior is given by the handbook that it is in."""


class Found(NamedTuple):
    """What a file holds."""

    adds: list[Add]
    """What adds its behaviors."""
    orders: list[str]
    """A line about each that is left out because it reads like an order."""
    retired: int
    """Behaviors that are left out because they are recalled no more where they come from."""


class _Row(NamedTuple):
    line: int
    add: Add
    is_active: bool = True


def line(behavior: Behavior) -> str:
    """Return a behavior as one line of JSON."""
    return dumps(asdict(behavior))


def read(text: str, form: str) -> Found:
    """Return the behaviors of a text, `jsonl` or `bullets`. Raises UserError, naming the line, for one that is none,
    and for a name that two active ones share."""
    active: list[_Row] = []
    retired = 0
    for row in _of_bullets(text) if form == "bullets" else _of_lines(text):
        try:
            Behavior(id=1, **row.add._asdict())
        except UserError as error:
            raise UserError(f"line {row.line}: {error}") from error
        if row.is_active:
            active.append(row)
        else:
            retired += 1
    counts = Counter(row.add.name for row in active)
    if twice := next((name for name in counts if counts[name] > 1), None):
        raise UserError(f"{twice} is in the file twice: give one of them another name")
    orders = {row.line: found for row in active if (found := _order_in(row.add))}
    told = [
        f"line {row.line}: {row.add.name} reads like an order to an engine: {orders[row.line]!r:.60}"
        for row in active
        if row.line in orders
    ]
    return Found([row.add for row in active if row.line not in orders], told, retired)


def _order_in(add: Add) -> str:
    return order_in(add.instruction, add.section, add.name.removeprefix(PREFIX).replace("_", " "))


def _of_bullets(text: str) -> Iterator[_Row]:
    for each in bullets_in(text):
        polarity: Any = each.polarity
        add = Add(each.name, each.instruction, each.section, polarity, helpful=each.helpful, harmful=each.harmful)
        yield _Row(each.line, add)


def _of_lines(text: str) -> Iterator[_Row]:
    for number, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            given = strict_json(written)
        except (ValueError, RecursionError) as error:
            raise UserError(f"line {number} is no JSON: {error}") from error
        if not is_table(given) or not {"name", "instruction"} <= {*given} <= {*Add._fields, *_OWN}:
            raise UserError(f"line {number} is no behavior: give name, instruction and what else `export` writes")
        is_active = given.get("is_active", True)
        if not isinstance(is_active, bool):
            raise UserError(f"line {number}: is_active = {is_active!r:.40} must be true or false")
        yield _Row(number, Add(**{name: value for name, value in given.items() if name not in _OWN}), is_active)
