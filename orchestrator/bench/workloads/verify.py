"""The exact judge: an independent evaluator of expressions, and of single reasoning steps.

Shares no code with the generator: it tokenises, parses over fractions and keeps source spans, so that
a step can be checked against the text it continues. Nothing is executed (no `eval`).

A thought is a list of steps. The *state* after a step is the last line of its text. A step is right when
its equation is one ready operation of the state before, its result is exact, and the new state is the
old one with only that operation replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

__all__ = [
    "RATINGS",
    "Unreadable",
    "Verdict",
    "evaluate",
    "find_answer",
    "state_after",
    "verify_step",
    "verify_thought",
]


class Unreadable(ValueError):
    """The text is no expression; carries the text."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is right or wrong about one step."""

    fault: str | None
    """None for a right step, else: slip, result, order, copy or malformed."""
    kind: str
    """setup, add, sub, mul, div, neg, split, check, behavior, or unknown for a malformed step."""
    reason: str = ""

    @property
    def is_right(self) -> bool:
        return self.fault is None

    @property
    def rating(self) -> int:
        """The digit a judge should give, 0-9."""
        return RATINGS[self.fault]


RATINGS: Mapping[str | None, int] = {None: 9, "slip": 3, "result": 2, "copy": 1, "order": 1, "malformed": 0}
"""slip: one digit of the result is wrong; result: more; copy: the rest was not restated; order: not ready."""


# --- expressions ----------------------------------------------------------------------------------

_TOKEN = re.compile(r"\d+|[-+*/()]")


@dataclass(frozen=True, slots=True)
class _Part:
    """A parsed part with its place in the text; `shape` is literal, minus, group, or an operator."""

    shape: str
    start: int
    end: int
    value: Fraction
    parts: tuple[_Part, ...] = ()

    def is_literal(self) -> bool:
        return self.shape == "literal"


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(text)]
        if "".join(token for token, _, _ in self.tokens) != text:
            raise Unreadable(f"not an expression: {text!r}")
        self.index = 0

    def peek(self) -> str:
        return self.tokens[self.index][0] if self.index < len(self.tokens) else ""

    def take(self) -> tuple[str, int, int]:
        if self.index >= len(self.tokens):
            raise Unreadable(f"ends too early: {self.text!r}")
        self.index += 1
        return self.tokens[self.index - 1]

    def whole(self) -> _Part:
        part = self.sum()
        if self.peek():
            raise Unreadable(f"goes on after its end: {self.text!r}")
        return part

    def sum(self) -> _Part:
        return self.chain(("+", "-"), self.product)

    def product(self) -> _Part:
        return self.chain(("*", "/"), self.operand)

    def chain(self, operators: tuple[str, ...], operand: Callable[[], _Part]) -> _Part:
        left = operand()
        while self.peek() in operators:
            operator = self.take()[0]
            right = operand()
            left = _Part(operator, left.start, right.end, _apply(operator, left.value, right.value), (left, right))
        return left

    def operand(self) -> _Part:
        token, start, end = self.take()
        if token == "-":
            inside = self.operand()
            if inside.is_literal() and inside.value > 0 and inside.start == end:
                return _Part("literal", start, inside.end, -inside.value)
            return _Part("minus", start, inside.end, -inside.value, (inside,))
        if token == "(":
            inside = self.sum()
            token, _, end = self.take()
            if token != ")":
                raise Unreadable(f"a parenthesis is not closed: {self.text!r}")
            return _Part("group", start, end, inside.value, (inside,))
        if not token.isdigit():
            raise Unreadable(f"a number is missing: {self.text!r}")
        return _Part("literal", start, end, Fraction(int(token)))


def _apply(operator: str, left: Fraction, right: Fraction) -> Fraction:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if right == 0:
        raise Unreadable("division by zero")
    return left / right


def _parse(text: str) -> _Part:
    if len(text) > 20_000:
        raise Unreadable("longer than 20,000 characters")
    try:
        return _Reader(text).whole()
    except RecursionError:
        raise Unreadable("nested too deeply") from None


def evaluate(expression: str) -> Fraction:
    """The exact value; blanks are ignored. Raises Unreadable, also for a division by zero."""
    return _parse("".join(expression.split())).value


# --- steps ----------------------------------------------------------------------------------------


def state_after(step: str) -> str:
    """What a step leaves to do: the last line of its text."""
    return step.strip("\n").rpartition("\n")[2]


_KINDS = {"+": "add", "-": "sub", "*": "mul", "/": "div"}
_CHECK = "Wait, "


def verify_step(before: str | None, step: str, problem: str) -> Verdict:
    """Judge one step by the state before it (None for the first step) and the problem's expression.

    Re-checks ("Wait, ...") may restate the problem, repeat a true equation, or repeat the state.
    """
    problem = "".join(problem.split())
    text = step.strip("\n")
    if before is None:
        if text == problem:
            return Verdict(None, "setup")
        return Verdict("copy" if _readable(text) else "malformed", "setup", f"the problem is {problem}")
    if text.startswith(_CHECK):
        return _verify_check(before, text.removeprefix(_CHECK), problem)
    head, newline, state = text.partition("\n")
    left, sign, right = head.partition("=")
    if not (newline and sign and "\n" not in state and _readable(left) and _readable(right) and _readable(state)):
        return Verdict("malformed", "unknown", "not an equation over a state")
    return _verify_operation(before, left, right, state)


def _readable(text: str) -> bool:
    try:
        _parse(text)
    except Unreadable:
        return False
    return True


def _verify_check(before: str, text: str, problem: str) -> Verdict:
    head, _, state = text.partition("\n")
    left, sign, right = head.partition("=")
    if sign:
        if not (_readable(left) and _readable(right)):
            return Verdict("malformed", "check", "not an equation")
        if _parse(left).value != _parse(right).value:
            return _wrong_result(right, _parse(left).value, "check")
        return Verdict(None if state == before else "copy", "check", f"the state was {before}")
    return Verdict(None if state in (problem, before) else "copy", "check", "neither the problem nor the state")


def _verify_operation(before: str, left: str, right: str, state: str) -> Verdict:
    try:
        whole = _parse(before)
    except Unreadable:
        return Verdict("malformed", "unknown", f"the state before is no expression: {before!r}")
    ready = [(path, part) for path, part in _ready(whole, ()) if before[part.start : part.end] == left]
    kind = _kind(_parse(left), right)
    if not ready:
        return Verdict("order", kind, f"{left} is not a ready operation of {before}")
    value = _parse(left).value
    if _parse(right).value != value:
        return _wrong_result(right, value, kind)
    if not (_parse(right).is_literal() or _is_split(left, right)):
        return Verdict("malformed", kind, f"{right} is no result")
    if any(state in _replacements(before, path, part, right) for path, part in ready):
        return Verdict(None, kind)
    return Verdict("copy", kind, f"{before} with {left} done is not {state}")


def _kind(part: _Part, right: str) -> str:
    if part.shape == "minus":
        return "neg"
    if part.shape == "*" and not _parse(right).is_literal():
        return "split"
    return _KINDS.get(part.shape, "unknown")


def _wrong_result(right: str, value: Fraction, kind: str) -> Verdict:
    expected = str(value)
    differing = sum(a != b for a, b in zip(expected, right, strict=False))
    fault = "slip" if len(expected) == len(right) and differing == 1 else "result"
    return Verdict(fault, kind, f"{right} should be {expected}")


def _ready(part: _Part, path: tuple[_Part, ...]) -> list[tuple[tuple[_Part, ...], _Part]]:
    """Every operation on literals only, with the parts around it, outermost first."""
    if part.is_literal():
        return []
    if part.shape != "group" and all(inside.is_literal() for inside in part.parts):
        return [(path, part)]
    return [found for inside in part.parts for found in _ready(inside, (*path, part))]


def _replacements(before: str, path: Sequence[_Part], part: _Part, right: str) -> set[str]:
    """The states that replacing `part` may leave: with the parentheses right around it kept or dropped."""
    start, end = part.start, part.end
    results = {before[:start] + right + before[end:]}
    for around in reversed(path):
        if around.shape != "group":
            break
        start, end = around.start, around.end
        results.add(before[:start] + right + before[end:])
    wanted = _parse(before).value
    return {state for state in results if _value_or_none(state) == wanted}


def _value_or_none(text: str) -> Fraction | None:
    try:
        return _parse(text).value
    except Unreadable:
        return None


_SPLIT = re.compile(r"\((-?\d+)\*(-?\d+)\+(-?\d+)\*(-?\d+)\)")


def _is_split(left: str, right: str) -> bool:
    """Whether a product was written as two products of its own left factor."""
    match = _SPLIT.fullmatch(right)
    return match is not None and left.rpartition("*")[0] == match.group(1) == match.group(3)


def verify_thought(steps: Sequence[str], problem: str) -> list[Verdict]:
    """Judge every step by the state that the step before it really left, right or wrong."""
    verdicts: list[Verdict] = []
    before: str | None = None
    for step in steps:
        verdicts.append(verify_step(before, step, problem))
        before = state_after(step)
    return verdicts


_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


def find_answer(text: str) -> str | None:
    """The content of the last `\\boxed{...}`, or None."""
    found = _BOXED.findall(text)
    return found[-1].strip() if found else None
