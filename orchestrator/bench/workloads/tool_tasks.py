"""Errands that need tools: prices are looked up, units are converted, sums are calculated.

A `Shop` is the whole environment: it answers calls written `name(argument, ...)`, and it fails in two
honest ways: a name it does not know is refused with the name to use, and a busy tool stays busy for a
number of calls (`list` never is). Nothing is random after construction, so a run can be replayed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

from orchestrator.bench.workloads.splits import split_of_number
from orchestrator.bench.workloads.verify import Unreadable, evaluate

__all__ = [
    "CALL",
    "ITEMS",
    "SYSTEM",
    "UNITS",
    "Errand",
    "Shop",
    "draw_errand",
    "errands",
    "plan",
    "recover",
    "split_of",
]

SYSTEM = "Tools: calc, lookup, list, convert."
"""The system message of every errand."""

CALL = re.compile(r"<tool>([a-z]+)\(([^()]*(?:\([^()]*\)[^()]*)*)\)</tool>")
"""One strict call: a lower-case name and its arguments; parentheses inside may nest once."""

ITEMS = ("pen", "cup", "book", "lamp", "rope", "bag", "hat", "key", "map", "ball", "soap", "fan")

UNITS: Mapping[tuple[str, str], int] = MappingProxyType(
    {("km", "m"): 1000, ("m", "cm"): 100, ("kg", "g"): 1000, ("h", "min"): 60, ("min", "s"): 60, ("day", "h"): 24}
)


@dataclass
class Shop:
    """Answers tool calls. `busy` counts, per tool, the calls that still fail; it goes down as they fail."""

    prices: Mapping[str, int]
    names: Mapping[str, str] = field(default_factory=dict)
    """What an item is called in the catalogue, where that differs from the errand's word."""
    busy: dict[str, int] = field(default_factory=dict)

    def call(self, name: str, argument: str) -> str:
        """The observation for one call; an error is text that starts with `error`."""
        tools = {"calc": self._calc, "lookup": self._lookup, "list": self._list, "convert": self._convert}
        if name not in tools:
            return f"error: no tool {name}"
        if self.busy.get(name, 0) > 0:
            self.busy[name] -= 1
            return "error: busy"
        return tools[name](argument.strip())

    def _calc(self, argument: str) -> str:
        try:
            return str(evaluate(argument))
        except Unreadable:
            return "error: not an expression"

    def _lookup(self, argument: str) -> str:
        if argument in self.names:
            return f"error: no {argument}, use {self.names[argument]}"
        if argument not in self.prices:
            return f"error: no {argument}"
        return str(self.prices[argument])

    def _list(self, argument: str) -> str:
        return ", ".join(f"{name} {price}" for name, price in self.prices.items())

    def _convert(self, argument: str) -> str:
        match = re.fullmatch(r"(\d+) ([a-z]+), ([a-z]+)", argument)
        if match is None:
            return "error: write convert(amount unit, unit)"
        amount, source, target = match.groups()
        if (source, target) not in UNITS:
            return f"error: no way from {source} to {target}"
        return str(int(amount) * UNITS[source, target])


@dataclass(frozen=True, slots=True)
class Errand:
    """One errand: what is asked, the right answer, and how its shop is set up."""

    id: str
    prompt: str
    answer: str
    kind: str
    """buy or convert."""
    wanted: tuple[tuple[int, str], ...]
    """buy: (count, item), ...; convert: (amount, unit), ... in falling units."""
    prices: tuple[tuple[str, int], ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    busy: tuple[tuple[str, int], ...] = ()

    def shop(self) -> Shop:
        """A fresh environment."""
        return Shop(dict(self.prices), dict(self.names), dict(self.busy))


def _buy(random: Random) -> Errand:
    words = random.sample(ITEMS, random.randint(3, 5))
    names = {word: f"{word}{random.randint(2, 9)}" for word in words if random.random() < 0.3}
    prices = {names.get(word, word): random.randint(2, 40) for word in words}
    wanted = tuple((random.randint(2, 9), word) for word in words[: random.randint(1, 3)])
    total = sum(count * prices[names.get(word, word)] for count, word in wanted)
    parts = [f"{count} {word}" for count, word in wanted]
    prompt = f"What is the price of {' and '.join(parts)}?"
    return _errand(random, prompt, str(total), "buy", wanted, prices, names)


def _convert(random: Random) -> Errand:
    source, target = random.choice(sorted(UNITS))
    wanted = ((random.randint(2, 30), source), (random.randint(2, 99), target))
    total = wanted[0][0] * UNITS[source, target] + wanted[1][0]
    prompt = f"How many {target} are {wanted[0][0]} {source} and {wanted[1][0]} {target}?"
    return _errand(random, prompt, str(total), "convert", wanted, {}, {})


def _errand(
    random: Random,
    prompt: str,
    answer: str,
    kind: str,
    wanted: tuple[tuple[int, str], ...],
    prices: dict[str, int],
    names: dict[str, str],
) -> Errand:
    busy = {}
    if random.random() < 0.3:
        tool = "lookup" if kind == "buy" else "convert"
        busy[tool] = random.choice((1, 1, 9)) if kind == "buy" else 1
    setting = f"{prompt}|{sorted(prices.items())}|{sorted(names.items())}|{sorted(busy.items())}"
    digest = hashlib.sha256(setting.encode()).hexdigest()
    return Errand(
        f"errand-{digest[:12]}", prompt, answer, kind, wanted,
        tuple(prices.items()), tuple(names.items()), tuple(busy.items()),
    )  # fmt: skip


def split_of(errand: Errand) -> str:
    """Errands are cut by their id, 90 : 5 : 5."""
    return split_of_number(int(errand.id.removeprefix("errand-"), 16))


def errands(split: str, seed: int) -> Iterator[Errand]:
    """Endless errands of one split."""
    random = Random(f"errands/{split}/{seed}")
    while True:
        errand = draw_errand(random)
        if split_of(errand) == split:
            yield errand


def draw_errand(random: Random) -> Errand:
    """One errand, of any split."""
    return _buy(random) if random.random() < 0.7 else _convert(random)


def plan(errand: Errand) -> Generator[tuple[str, str], str]:
    """The calls of a good worker, as (rationale, call); observations come in by `send`.

    A busy tool is tried once more; if it is busy again, the catalogue is listed instead.
    """
    if errand.kind == "convert":
        (amount, source), (rest, target) = errand.wanted
        call = ("Convert first.", f"convert({amount} {source}, {target})")
        seen = yield call
        while seen.startswith("error"):
            seen = yield ("Busy, try again.", call[1])
        yield ("Now add.", f"calc({seen}+{rest})")
        return
    prices: dict[str, str] = {}
    seen = ""
    for _, word in errand.wanted:
        failures = 0
        name = word
        while word not in prices:
            if failures == 2:
                yield from recover(errand)
                return
            why = "Busy, try again." if seen == "error: busy" else f"Look up {name}."
            seen = yield (why, f"lookup({name})")
            if seen == "error: busy":
                failures += 1
            elif seen.startswith("error: no "):
                name = seen.rpartition(" ")[2]
            else:
                prices[word] = seen
    yield _sum(errand, prices)


def recover(errand: Errand) -> Generator[tuple[str, str], str]:
    """The way out of a busy shop: list the catalogue, then sum."""
    seen = yield ("Still busy, list all.", "list()")
    listed = dict(entry.rsplit(" ", 1) for entry in seen.split(", "))
    yield _sum(errand, {key.rstrip("0123456789"): price for key, price in listed.items()})


def _sum(errand: Errand, prices: Mapping[str, str]) -> tuple[str, str]:
    total = "+".join(f"{count}*{prices[word]}" for count, word in errand.wanted)
    return ("Now the sum.", f"calc({total})")
