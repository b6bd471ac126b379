"""Behaviors as files: JSONL with everything that one is, and playbooks of bullets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from json import dumps
from typing import Any

from orchestrator.behaviors import Add, Behavior
from orchestrator.document import is_table, strict_json
from orchestrator.errors import UserError
from orchestrator.handbook.bullets import bullets_in

__all__ = ["added", "line"]

_OWN = ("id", "version", "is_active", "merged_into")
"""What a behavior is given by the handbook that it is in."""


def line(behavior: Behavior) -> str:
    """Return a behavior as one line of JSON."""
    return dumps(asdict(behavior))


def added(text: str, form: str) -> list[Add]:
    """Return the behaviors of a text, `jsonl` or `bullets`, as what adds them. Raises UserError, naming the line."""
    found = list(_of_bullets(text) if form == "bullets" else _of_lines(text))
    names = [each.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None) if len({*names}) < len(names) else None:
        raise UserError(f"{twice} is in the file twice: give one of them another name")
    return found


def _of_bullets(text: str) -> Iterator[Add]:
    for each in bullets_in(text):
        polarity: Any = each.polarity
        yield _checked(
            Add(each.name, each.instruction, each.section, polarity, helpful=each.helpful, harmful=each.harmful)
        )


def _of_lines(text: str) -> Iterator[Add]:
    for number, written in enumerate(text.splitlines(), 1):
        if not written.strip():
            continue
        try:
            given = strict_json(written)
        except (ValueError, RecursionError) as error:
            raise UserError(f"line {number} is no JSON: {error}") from error
        if not is_table(given) or not {"name", "instruction"} <= {*given} <= {*Add._fields, *_OWN}:
            raise UserError(f"line {number} is no behavior: give name, instruction and what else `export` writes")
        try:
            yield _checked(Add(**{name: value for name, value in given.items() if name not in _OWN}))
        except (UserError, TypeError) as error:
            raise UserError(f"line {number}: {error}") from error


def _checked(add: Add) -> Add:
    Behavior(id=1, **add._asdict())
    return add
