"""How a calculation is solved in steps: the expression restated, then one operation per step.

    (12+47)*6-5          12+47=59           59*6=354           354-5=349
                         59*6-5             354-5              349

The leftmost operation that is ready is done first. A product of two factors that both have several
significant digits is first split at the leading digit of the right one (`38*14=(38*10+38*4)`), so that
every product has one easy factor. A thought may check itself again once the answer is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from orchestrator.bench.workloads.expression import (
    Group,
    Minus,
    Node,
    Number,
    Operation,
    apply,
    compact,
    grouped,
    negated,
    value_of,
)

__all__ = ["REDUNDANCY", "Step", "reason", "solve"]

# Chance of re-checking once the answer is known: when it is negative, when it is not, and of doing so again.
REDUNDANCY = MappingProxyType({"negative": 0.85, "other": 0.1, "again": 0.25})


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a solution: its text, what is left to do after it, and what sort of step it is."""

    text: str
    state: str
    kind: str
    """setup, add, sub, mul, div, neg, split, check (a re-check), or behavior."""


_KINDS = {"+": "add", "-": "sub", "*": "mul", "/": "div"}


def _significant(value: int) -> int:
    return len(str(abs(value)).rstrip("0")) or 1


def _split(left: int, right: int) -> Node | None:
    """`left*right` as a sum of two easier products, or None if one factor has one significant digit."""
    if min(_significant(left), _significant(right)) < 2:
        return None
    unit = 10 ** (len(str(abs(right))) - 1)
    head = (abs(right) // unit) * unit * (1 if right > 0 else -1)
    return Group(
        Operation("+", Operation("*", Number(left), Number(head)), Operation("*", Number(left), Number(right - head)))
    )


def _reduce(node: Node) -> tuple[str, str, Node] | None:
    """Do the leftmost ready operation: (its equation, its kind, the new expression); None for a literal."""
    match node:
        case Number():
            return None
        case Group(inside) | Minus(inside):
            done = _reduce(inside)
            if done is not None:
                equation, kind, new = done
                if isinstance(node, Group):
                    return equation, kind, new if isinstance(new, Number) else grouped(new)
                return equation, kind, negated(new)
            value = value_of(inside)
            return f"{compact(Minus(Number(value)))}={-value}", "neg", Number(-value)
        case Operation(operator, left, right):
            if (done := _reduce(left)) is not None:
                equation, kind, new = done
                return equation, kind, Operation(operator, new, right)
            if (done := _reduce(right)) is not None:
                equation, kind, new = done
                return equation, kind, Operation(operator, left, new)
            first, second = value_of(left), value_of(right)
            before = compact(Operation(operator, Number(first), Number(second)))
            parts = _split(first, second) if operator == "*" else None
            if parts is not None:
                return f"{before}={compact(parts)}", "split", parts
            result = apply(operator, first, second)
            return f"{before}={result}", _KINDS[operator], Number(result)


def solve(node: Node) -> Iterator[Step]:
    """The steps after the setup, one operation each; the last state is the answer."""
    while (done := _reduce(node)) is not None:
        equation, kind, node = done
        state = compact(node)
        yield Step(f"{equation}\n{state}", state, kind)


def reason(expression: Node, random: Random | None = None, rechecks: int | None = None) -> list[Step]:
    """A whole thought: setup, operations, and re-checks (drawn from REDUNDANCY unless `rechecks` is given)."""
    text = compact(expression)
    setup = Step(text, text, "setup")
    operations = list(solve(expression))
    steps = [setup, *operations]
    answer = steps[-1].state
    if rechecks is None:
        rechecks = 0 if random is None else _draw_rechecks(random, answer)
    for _ in range(rechecks):
        steps += _recheck(setup, operations, random or Random(0))
    return steps


def _draw_rechecks(random: Random, answer: str) -> int:
    if random.random() >= REDUNDANCY["negative" if answer.startswith("-") else "other"]:
        return 0
    count = 1
    while count < 3 and random.random() < REDUNDANCY["again"]:
        count += 1
    return count


def _recheck(setup: Step, operations: list[Step], random: Random) -> list[Step]:
    """The whole solution again, the last operation again, or only a remark."""
    answer = (operations or [setup])[-1].state
    draw = random.random()
    if draw < 0.5 or not operations:
        return [Step(f"Wait, let me check.\n{setup.text}", setup.state, "check"), *operations]
    if draw < 0.75:
        return [Step(f"Wait, {operations[-1].text}", answer, "check")]
    return [Step(f"Wait, is it right? Yes.\n{answer}", answer, "check")]
