"""RandomCalculation: seeded integer arithmetic of any length, with one operation per solution step.

A task is an expression over integers (`+`, `-`, `*`, exact `/`, unary minus, parentheses), asked in
one of several wordings. Its solution is a list of steps: the first restates the expression without
blanks, each further one does the leftmost operation that is ready and restates what is left:

    (12+47)*6-5          12+47=59           59*6=354           354-5=349
                         59*6-5             354-5              349

A product of two factors that both have several significant digits is first split at the leading
digit of the right one (`38*14=(38*10+38*4)`), so that every product has one easy factor.
Texts are cut into train, calibration and report by a hash of the expression: no expression is in two.
Everything here is the standard library; `evaluate.py` checks it and shares no code with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

__all__ = [
    "PRESETS",
    "REASONING_GYM",
    "REDUNDANCY",
    "SPLITS",
    "WORDINGS",
    "Dials",
    "Step",
    "Task",
    "Wording",
    "compact",
    "draw_expression",
    "draw_wording",
    "make_task",
    "read_expression",
    "reason",
    "solve",
    "spaced",
    "split_of",
    "task_from_text",
    "tasks",
    "tokens_of",
]


# --- difficulty -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Dials:
    """How hard a task is. A larger number is never easier; a range is drawn uniformly, ends included."""

    num_operations: tuple[int, int]
    """Binary operations in the expression."""
    num_digits: tuple[int, int]
    """Digits of a literal, drawn once per task."""
    max_depth: int = 0
    """Deepest nesting of parentheses."""
    max_result_digits: int = 3
    """Digits of the largest intermediate result; a draw that passes it is drawn again."""
    factor_digits: int = 1
    """Digits of the smaller factor of a product, and of a divisor."""
    negation: float = 0.0
    """Chance that a literal is negative, and that a parenthesis carries a minus."""
    weights: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType({"+": 3.0, "-": 3.0, "*": 2.0, "/": 1.0})
    )
    """Relative frequency of the operators."""

    def __post_init__(self) -> None:
        for low, high in (self.num_operations, self.num_digits):
            if not 1 <= low <= high:
                raise ValueError(f"a range must satisfy 1 <= low <= high, got {(low, high)!r}")
        if set(self.weights) - set("+-*/") or not any(weight > 0 for weight in self.weights.values()):
            raise ValueError(f"weights know only + - * /, one of them positive; got {dict(self.weights)!r}")


# Committed before the first training run; a change bumps the pair id. direct, easy, mid, hard and long get
# harder in this order; chain, signed and products follow reasoning-gym's families.
PRESETS: Mapping[str, Dials] = MappingProxyType(
    {
        "direct": Dials(num_operations=(1, 2), num_digits=(1, 2), max_result_digits=3),
        "easy": Dials(num_operations=(2, 3), num_digits=(1, 2), max_depth=1, max_result_digits=3),
        "mid": Dials(num_operations=(4, 6), num_digits=(1, 2), max_depth=2, max_result_digits=3, negation=0.05),
        "hard": Dials(
            num_operations=(6, 9), num_digits=(1, 3), max_depth=3, max_result_digits=4, factor_digits=2, negation=0.1
        ),
        "chain": Dials(
            num_operations=(1, 5),
            num_digits=(1, 3),
            max_result_digits=4,
            negation=0.25,
            weights=MappingProxyType({"+": 1.0, "-": 1.0}),
        ),
        "signed": Dials(
            num_operations=(1, 4), num_digits=(1, 1), max_depth=3, max_result_digits=4, factor_digits=2, negation=0.4
        ),
        "products": Dials(
            num_operations=(1, 1),
            num_digits=(1, 2),
            max_result_digits=4,
            factor_digits=2,
            weights=MappingProxyType({"*": 1.0}),
        ),
        "long": Dials(num_operations=(12, 20), num_digits=(1, 2), max_depth=3, max_result_digits=4, negation=0.05),
    }
)

# The configurations of reasoning-gym that the pair is trained towards and tested on.
REASONING_GYM: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "chain_sum": {"min_terms": 2, "max_terms": 6, "min_digits": 1, "max_digits": 3, "allow_negation": True},
        "basic_arithmetic": {"min_terms": 2, "max_terms": 5, "min_digits": 1, "max_digits": 1},
        "products": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2},
    }
)

# Chance of re-checking once the answer is known: when it is negative, when it is not, and of doing so again.
REDUNDANCY = MappingProxyType({"negative": 0.85, "other": 0.1, "again": 0.25})


# --- expressions ----------------------------------------------------------------------------------


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


def _apply(operator: str, left: int, right: int) -> int:
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


def _value(node: Node) -> int:
    match node:
        case Number(value):
            return value
        case Minus(inside):
            return -_value(inside)
        case Group(inside):
            return _value(inside)
        case Operation(operator, left, right):
            return _apply(operator, _value(left), _value(right))


# --- drawing an expression ------------------------------------------------------------------------


class _Retry(Exception):
    """This draw broke a limit."""


@dataclass
class _Draw:
    random: Random
    dials: Dials
    digits: int

    def expression(self, num_operations: int, depth: int) -> Node:
        """A sum of products; what does not fit at this level goes into parentheses, if `depth` allows."""
        here = num_operations if depth == 0 else self.random.randint(1, num_operations)
        inside = self._share(num_operations - here, here + 1)
        operators = self.random.choices(list(self.dials.weights), list(self.dials.weights.values()), k=here)
        total: Node | None = None
        sign = "+"
        term = self._operand(inside[0], depth)
        for operator, count in zip(operators, inside[1:], strict=True):
            if operator in "+-":
                total = self._join(sign, total, term)
                sign, term = operator, self._operand(count, depth)
            elif operator == "*":
                term = self._product(term, count, depth)
            else:
                term = self._quotient(term, count, depth)
        result = self._join(sign, total, term)
        self._check(result)
        return result

    def _share(self, count: int, slots: int) -> list[int]:
        shares = [0] * slots
        for _ in range(count):
            shares[self.random.randrange(slots)] += 1
        return shares

    def _join(self, sign: str, total: Node | None, term: Node) -> Node:
        if total is None:
            return term
        result = Operation(sign, total, term)
        self._check(result)
        return result

    def _check(self, node: Node) -> None:
        if abs(_value(node)) >= 10**self.dials.max_result_digits:
            raise _Retry

    def _literal(self, digits: int, low: int = 0) -> Number:
        value = self.random.randint(max(low, 10 ** (digits - 1) if digits > 1 else low), 10**digits - 1)
        return Number(-value if self.random.random() < self.dials.negation else value)

    def _operand(self, num_operations: int, depth: int) -> Node:
        if num_operations == 0:
            return self._literal(self.random.randint(1, self.digits))
        group = Group(self.expression(num_operations, depth - 1))
        return Minus(group) if self.random.random() < self.dials.negation else group

    def _product(self, left: Node, num_operations: int, depth: int) -> Node:
        if num_operations:
            right = self._operand(num_operations, depth)
        else:
            right = self._literal(self.random.randint(1, min(self.digits, self.dials.factor_digits)), low=1)
        if min(abs(_value(left)), abs(_value(right))) >= 10**self.dials.factor_digits:
            raise _Retry
        result = Operation("*", left, right)
        self._check(result)
        return result

    def _quotient(self, left: Node, num_operations: int, depth: int) -> Node:
        """Exact by choosing a divisor; a literal on the left is drawn anew, as a multiple."""
        if num_operations:
            return self._product(left, num_operations, depth)
        limit = 10 ** min(self.dials.factor_digits, self.digits)
        if isinstance(left, Number):
            divisor = self.random.randint(2, limit - 1)
            largest = (10**self.digits - 1) // divisor
            if largest < 1:
                raise _Retry
            return Operation("/", Number(divisor * self.random.randint(1, largest)), Number(divisor))
        value = abs(_value(left))
        divisors = [d for d in range(2, limit) if value % d == 0]
        if not divisors:
            raise _Retry
        return Operation("/", left, Number(self.random.choice(divisors)))


def draw_expression(random: Random, dials: Dials) -> Node:
    """One expression within the dials."""
    num_operations = random.randint(*dials.num_operations)
    digits = random.randint(*dials.num_digits)
    while True:
        try:
            return _Draw(random, dials, digits).expression(num_operations, dials.max_depth)
        except _Retry:
            continue


# --- solving --------------------------------------------------------------------------------------


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
                    return equation, kind, new if isinstance(new, Number) else _grouped(new)
                return equation, kind, _negated(new)
            value = _value(inside)
            return f"{compact(Minus(Number(value)))}={-value}", "neg", Number(-value)
        case Operation(operator, left, right):
            if (done := _reduce(left)) is not None:
                equation, kind, new = done
                return equation, kind, Operation(operator, new, right)
            if (done := _reduce(right)) is not None:
                equation, kind, new = done
                return equation, kind, Operation(operator, left, new)
            first, second = _value(left), _value(right)
            before = compact(Operation(operator, Number(first), Number(second)))
            parts = _split(first, second) if operator == "*" else None
            if parts is not None:
                return f"{before}={compact(parts)}", "split", parts
            result = _apply(operator, first, second)
            return f"{before}={result}", _KINDS[operator], Number(result)


def _grouped(node: Node) -> Node:
    return node if isinstance(node, Group) else Group(node)


def _negated(node: Node) -> Node:
    """A minus in front of a positive literal is part of it, as it reads."""
    return Number(-node.value) if isinstance(node, Number) and node.value > 0 else Minus(node)


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


# --- asking ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wording:
    """How an expression is asked: a format with one `{}` and a spacing (single, loose, none)."""

    text: str
    spacing: str = "single"


WORDINGS: Mapping[str, Wording] = MappingProxyType(
    {
        "compute": Wording("Compute {}.", "loose"),
        "compute_tight": Wording("Compute {}.", "none"),
        "what_is": Wording("What is {}?"),
        "what_is_tight": Wording("What is {}?", "none"),
        "evaluate": Wording("Evaluate: {}."),
        "solve": Wording("Solve {}."),
        "basic_arithmetic": Wording("Calculate {}."),
        "chain_sum": Wording("State the final answer to the following arithmetic problem: {} ="),
        "products": Wording("Solve the following multiplication: {}. Give only the result as your final answer."),
    }
)


def spaced(tokens: list[str], spacing: str) -> str:
    """Tokens as text: a blank between all (single), around + and - outside parentheses' edges (loose), or none."""
    if spacing == "single":
        return " ".join(tokens)
    if spacing == "none":
        return "".join(tokens)
    return "".join(f" {token} " if token in ("+", "-") else token for token in tokens)


@dataclass(frozen=True, slots=True)
class Task:
    """One question with its answer key."""

    id: str
    prompt: str
    answer: str
    expression: str
    """Without blanks."""
    preset: str
    steps: tuple[Step, ...]
    """Without re-checks."""


SPLITS: Mapping[str, range] = MappingProxyType(
    {"train": range(0, 90), "calibration": range(90, 95), "report": range(95, 100)}
)


def split_of(expression: str) -> str:
    """The split that owns this expression, whatever its blanks and its wording."""
    text = "".join(expression.split())
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 100
    return next(name for name, buckets in SPLITS.items() if bucket in buckets)


def make_task(expression: Node, wording: str, preset: str = "custom") -> Task:
    """Ask for `expression` in a wording of WORDINGS."""
    form = WORDINGS[wording]
    text = compact(expression)
    prompt = form.text.format(spaced(tokens_of(expression), form.spacing))
    digest = hashlib.sha256(prompt.encode()).hexdigest()[:12]
    steps = tuple(reason(expression, rechecks=0))
    return Task(f"calc-{digest}", prompt, steps[-1].state, text, preset, steps)


def draw_wording(random: Random, expression: Node) -> str:
    """A wording that suits the expression: the `products` one asks for products only."""
    names = [name for name in WORDINGS if name != "products"]
    if set("+-/()").isdisjoint(compact(expression)):
        names += ["products"] * len(names)
    return random.choice(names)


def tasks(preset: str, split: str, seed: int, dials: Dials | None = None) -> Iterator[Task]:
    """Endless tasks of a preset (or of `dials`, labelled `preset`) from one split, a function of the arguments."""
    if split not in SPLITS:
        raise ValueError(f"no split named {split!r}; known: {', '.join(SPLITS)}")
    if dials is None:
        if preset not in PRESETS:
            raise ValueError(f"no preset named {preset!r}; known: {', '.join(PRESETS)}")
        dials = PRESETS[preset]
    random = Random(f"random-calculation/{preset}/{split}/{seed}")
    while True:
        expression = draw_expression(random, dials)
        if split_of(compact(expression)) == split:
            yield make_task(expression, draw_wording(random, expression), preset)


# --- reading an expression of others --------------------------------------------------------------


def task_from_text(expression: str, wording: str = "basic_arithmetic", preset: str = "custom") -> Task:
    """A task for an expression given as text, for instance by reasoning-gym. Raises ValueError if it is none."""
    return make_task(read_expression(expression), wording, preset)


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
        return _negated(inside), rest
    if text[:1] == "(":
        inside, rest = _read_sum(text[1:])
        if rest[:1] != ")":
            raise ValueError(f"a parenthesis is not closed before {rest!r}")
        return Group(inside), rest[1:]
    digits = len(text) - len(text.lstrip("0123456789"))
    if digits == 0:
        raise ValueError(f"a number is missing before {text!r}")
    return Number(int(text[:digits])), text[digits:]
