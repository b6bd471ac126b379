"""RandomCalculation: seeded integer arithmetic of any length, with one operation per solution step.

A task is an expression over integers (`+`, `-`, `*`, exact `/`, unary minus, parentheses), asked in
one of several wordings. `solution.py` says how it is solved step by step.

Texts are cut into train, calibration and report by a hash of the expression: no expression is in two.
Everything here is the standard library; `verify.py` checks it and shares no code with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

from orchestrator.bench.workloads.expression import (
    Group,
    Minus,
    Node,
    Number,
    Operation,
    compact,
    read_expression,
    tokens_of,
    value_of,
)
from orchestrator.bench.workloads.solution import Step, reason
from orchestrator.bench.workloads.splits import SPLITS, split_of

__all__ = [
    "PRESETS",
    "REASONING_GYM",
    "WORDINGS",
    "Calculation",
    "Dials",
    "Wording",
    "calculation_of",
    "calculations",
    "draw_expression",
    "draw_wording",
    "make_calculation",
    "spaced",
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
    summand: int | None = None
    """What is added and taken away wherever something is; None draws it."""
    begins: tuple[int, ...] = ()
    """The first literals; all others are drawn."""
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
# harder in this order; chain, signed and products follow reasoning-gym's families. wide came later and the pair never
# saw it: numbers longer than those it was trained on, where the large engine often errs where the small one does.
# minus_zero and times_zero came later too: n - 0 and 0 * 0 * n, which the large engine mostly knows without thinking.
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
        "wide": Dials(
            num_operations=(4, 6), num_digits=(1, 5), max_depth=2, max_result_digits=6, factor_digits=2, negation=0.05
        ),
        "minus_zero": Dials(num_operations=(1, 1), num_digits=(1, 3), weights=MappingProxyType({"-": 1.0}), summand=0),
        "times_zero": Dials(
            num_operations=(2, 2),
            num_digits=(4, 4),
            factor_digits=4,
            weights=MappingProxyType({"*": 1.0}),
            begins=(0, 0),
        ),
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


# --- drawing an expression ------------------------------------------------------------------------


class _Retry(Exception):
    """This draw broke a limit."""


@dataclass
class _Draw:
    random: Random
    dials: Dials
    digits: int
    given: list[int]

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
                sign, term = operator, self._summand(count, depth)
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
        if abs(value_of(node)) >= 10**self.dials.max_result_digits:
            raise _Retry

    def _literal(self, digits: int, low: int = 0) -> Number:
        if self.given:
            return Number(self.given.pop(0))
        value = self.random.randint(max(low, 10 ** (digits - 1) if digits > 1 else low), 10**digits - 1)
        return Number(-value if self.random.random() < self.dials.negation else value)

    def _operand(self, num_operations: int, depth: int) -> Node:
        if num_operations == 0:
            return self._literal(self.random.randint(1, self.digits))
        group = Group(self.expression(num_operations, depth - 1))
        return Minus(group) if self.random.random() < self.dials.negation else group

    def _summand(self, num_operations: int, depth: int) -> Node:
        fixed = self.dials.summand
        return self._operand(num_operations, depth) if fixed is None else Number(fixed)

    def _product(self, left: Node, num_operations: int, depth: int) -> Node:
        if num_operations:
            right = self._operand(num_operations, depth)
        else:
            right = self._literal(self.random.randint(1, min(self.digits, self.dials.factor_digits)), low=1)
        if min(abs(value_of(left)), abs(value_of(right))) >= 10**self.dials.factor_digits:
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
        value = abs(value_of(left))
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
            return _Draw(random, dials, digits, list(dials.begins)).expression(num_operations, dials.max_depth)
        except _Retry:
            continue


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
class Calculation:
    """One question with its answer key."""

    id: str
    prompt: str
    answer: str
    expression: str
    """Without blanks."""
    preset: str
    steps: tuple[Step, ...]
    """Without re-checks."""


def make_calculation(expression: Node, wording: str, preset: str = "custom") -> Calculation:
    """Ask for `expression` in a wording of WORDINGS."""
    form = WORDINGS[wording]
    text = compact(expression)
    prompt = form.text.format(spaced(tokens_of(expression), form.spacing))
    digest = hashlib.sha256(prompt.encode()).hexdigest()[:12]
    steps = tuple(reason(expression, rechecks=0))
    return Calculation(f"calc-{digest}", prompt, steps[-1].state, text, preset, steps)


def draw_wording(random: Random, expression: Node) -> str:
    """A wording that suits the expression: the `products` one asks for products only."""
    names = [name for name in WORDINGS if name != "products"]
    if set("+-/()").isdisjoint(compact(expression)):
        names += ["products"] * len(names)
    return random.choice(names)


def calculations(preset: str, split: str, seed: int, dials: Dials | None = None) -> Iterator[Calculation]:
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
            yield make_calculation(expression, draw_wording(random, expression), preset)


def calculation_of(expression: str, wording: str = "basic_arithmetic", preset: str = "custom") -> Calculation:
    """A task for an expression given as text, for instance by reasoning-gym. Raises ValueError if it is none."""
    return make_calculation(read_expression(expression), wording, preset)
