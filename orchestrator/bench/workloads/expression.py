"""Integer expressions as trees: written without blanks, read back, and worked out exactly."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Group",
    "Minus",
    "Node",
    "Number",
    "Operation",
    "apply",
    "compact",
    "grouped",
    "negated",
    "read_expression",
    "tokens_of",
    "value_of",
]


@dataclass(frozen=True, slots=True)
class Number:
    value: int


@dataclass(frozen=True, slots=True)
class Minus:
    inside: Node


@dataclass(frozen=True, slots=True)
class Group:
    inside: Node


@dataclass(frozen=True, slots=True)
class Operation:
    operator: str
    left: Node
    right: Node


Node = Number | Minus | Group | Operation


def tokens_of(node: Node) -> list[str]:
    """The tokens of an expression; a sign belongs to its literal or to its parenthesis, as in reasoning-gym."""
    match node:
        case Number(value):
            return [str(value)]
        case Minus(inside):
            first, *rest = tokens_of(inside)
            return ["-" + first, *rest]
        case Group(inside):
            return ["(", *tokens_of(inside), ")"]
        case Operation(operator, left, right):
            return [*tokens_of(left), operator, *tokens_of(right)]


def compact(node: Node) -> str:
    """The expression without blanks, as it stands in a step."""
    return "".join(tokens_of(node))


def apply(operator: str, left: int, right: int) -> int:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    quotient, rest = divmod(left, right) if right else (0, 1)
    if rest:
        raise ValueError(f"{left}/{right} is not exact")
    return quotient


def value_of(node: Node) -> int:
    match node:
        case Number(value):
            return value
        case Minus(inside):
            return -value_of(inside)
        case Group(inside):
            return value_of(inside)
        case Operation(operator, left, right):
            return apply(operator, value_of(left), value_of(right))


def grouped(node: Node) -> Node:
    """Parentheses around `node`, once."""
    return node if isinstance(node, Group) else Group(node)


def negated(node: Node) -> Node:
    """A minus in front of a positive literal is part of it, as it reads."""
    return Number(-node.value) if isinstance(node, Number) and node.value > 0 else Minus(node)


def read_expression(text: str) -> Node:
    """The expression written in `text`, blanks ignored. Raises ValueError if there is none."""
    node, rest = _read_sum("".join(text.split()))
    if rest:
        raise ValueError(f"cannot read {text!r} from {rest!r} on")
    return node


def _read_sum(text: str) -> tuple[Node, str]:
    node, text = _read_product(text)
    while text[:1] in ("+", "-"):
        operator, (right, rest) = text[0], _read_product(text[1:])
        node, text = Operation(operator, node, right), rest
    return node, text


def _read_product(text: str) -> tuple[Node, str]:
    node, text = _read_operand(text)
    while text[:1] in ("*", "/"):
        operator, (right, rest) = text[0], _read_operand(text[1:])
        node, text = Operation(operator, node, right), rest
    return node, text


def _read_operand(text: str) -> tuple[Node, str]:
    if text[:1] == "-":
        inside, rest = _read_operand(text[1:])
        return negated(inside), rest
    if text[:1] == "(":
        inside, rest = _read_sum(text[1:])
        if rest[:1] != ")":
            raise ValueError(f"a parenthesis is not closed before {rest!r}")
        return Group(inside), rest[1:]
    digits = len(text) - len(text.lstrip("0123456789"))
    if digits == 0:
        raise ValueError(f"a number is missing before {text!r}")
    return Number(int(text[:digits])), text[digits:]
