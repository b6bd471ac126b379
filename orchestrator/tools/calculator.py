"""Exact arithmetic: integers, decimals and fractions, by a walk over the few nodes that are arithmetic."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import isqrt
from types import MappingProxyType
from typing import Any

from orchestrator.errors import BadCall
from orchestrator.tools.function import Function

__all__ = ["Calculator", "calculate"]

_MAX_CHARS = 1000
_MAX_BITS = 4096
_MAX_DECIMALS = 50
_SIGNS = str.maketrans({"×": "*", "÷": "/", "\u2212": "-", "^": "**"})
_TOKENS = re.compile(r"(?:\d[\d_]*\.?\d*|\.\d+|[A-Za-z_]\w*|[-+*/%(),.]|\s)*", re.ASCII)
_FAR = re.compile(r"[eE][+-]?[\d_]{5}")
_HOW = "write numbers, + - * / // % ** ( ), and abs, max, min, round, sqrt"


class Calculator(Function):
    """The tool `calculator`, or by whatever name a pipeline calls it."""

    def __init__(self, *, name: str = "calculator", timeout_s: float = 5.0, max_chars: int = 4000) -> None:
        """`timeout_s` in seconds, > 0; `max_chars` caps what it answers, >= 100. Raises UserError."""
        super().__init__(calculate, name=name, timeout_s=timeout_s, max_chars=max_chars, is_idempotent=True)


def calculate(expression: str) -> str:
    """Calculate an arithmetic expression exactly.

    A whole number or a finite decimal is given in digits, another result as a fraction with about its value. `^` is a
    power. Raises BadCall: no expression, a division by zero, a root that is no fraction, or numbers of more than
    about 1,200 digits.

    Args:
        expression: for example 3*(4+5) or 2**10/3
    """
    if len(expression) > _MAX_CHARS:
        raise BadCall(f"the expression is longer than {_MAX_CHARS} characters")
    text = " ".join(expression.translate(_SIGNS).split())
    if not text or not _TOKENS.fullmatch(text):
        raise BadCall(f"not an expression: {_HOW}")
    try:
        return _shown(_value(ast.parse(text, mode="eval").body, text))
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # nested too deeply for the parser or for us
        raise BadCall(f"not an expression: {_HOW}") from None
    except ZeroDivisionError:
        raise BadCall("division by zero") from None


def _value(node: ast.expr, text: str) -> Fraction:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            value = _number(text[node.col_offset : node.end_col_offset])
        case ast.UnaryOp(op=ast.UAdd() | ast.USub()):
            value = _value(node.operand, text)
            value = -value if isinstance(node.op, ast.USub) else value
        case ast.BinOp(op=ast.Pow()):
            value = _power(_value(node.left, text), _value(node.right, text))
        case ast.BinOp() if type(node.op) in _OPERATORS:
            value = _OPERATORS[type(node.op)](_value(node.left, text), _value(node.right, text))
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            value = _applied(name, [_value(each, text) for each in node.args])
        case _:
            raise BadCall(f"not an expression: {_HOW}")
    if _bits(value) > _MAX_BITS:
        raise BadCall("the number is too large")
    return value


def _number(text: str) -> Fraction:
    """Read a number from the text: the tree has a binary approximation of 0.1."""
    if _FAR.search(text):
        raise BadCall("the number is too large")
    return Fraction(text)


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise BadCall("an exponent must be a whole number; sqrt() gives square roots")
    times = exponent.numerator
    if base in (0, 1, -1):  # only the sign and whether it is odd matter
        times = ((times > 0) - (times < 0)) * (2 - times % 2)
    elif _bits(base) * abs(times) > 2 * _MAX_BITS:
        raise BadCall("the number is too large")
    return Fraction(base**times)


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise BadCall("the square root of a number below 0")
    root = Fraction(isqrt(value.numerator), isqrt(value.denominator))
    if root * root != value:
        raise BadCall(f"the square root of {_shown(value)} is no fraction, and only exact results are given")
    return root


def _rounded(value: Fraction, digits: Fraction = Fraction(0)) -> Fraction:
    if digits.denominator != 1 or abs(digits) > _MAX_DECIMALS:
        raise BadCall(f"round() takes a whole number of digits, at most {_MAX_DECIMALS}")
    return Fraction(round(value, digits.numerator))


_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Any]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
    }
)
_FUNCTIONS: Mapping[str, tuple[Callable[..., Fraction], int, int]] = MappingProxyType(
    {
        "abs": (abs, 1, 1),
        "max": (max, 2, _MAX_CHARS),
        "min": (min, 2, _MAX_CHARS),
        "round": (_rounded, 1, 2),
        "sqrt": (_root, 1, 1),
    }
)
"""By name: the function and how many arguments it takes, at least and at most."""


def _applied(name: str, values: list[Fraction]) -> Fraction:
    function, fewest, most = _FUNCTIONS[name]
    if not fewest <= len(values) <= most:
        raise BadCall(f"{name}() takes another number of arguments")
    return function(*values)


def _shown(value: Fraction) -> str:
    value = Fraction(value)
    if value.denominator == 1:
        return str(value.numerator)
    for digits in range(1, _MAX_DECIMALS + 1):
        scaled = value * 10**digits
        if scaled.denominator == 1:
            whole = f"{abs(scaled.numerator):0{digits + 1}d}"
            return f"{'-' if value < 0 else ''}{whole[:-digits]}.{whole[-digits:]}"
    return f"{value} (about {_about(value)})"


def _about(value: Fraction) -> str:
    try:
        return f"{float(value):.12g}"
    except OverflowError:
        return str(value.numerator // value.denominator)
