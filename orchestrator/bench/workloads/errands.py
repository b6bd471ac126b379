"""Errands as a workload: what is asked, the right answer, and for every run a shop of its own to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any

from orchestrator.bench.scoring import exact
from orchestrator.bench.workloads import tool_tasks
from orchestrator.bench.workloads.base import Workload
from orchestrator.bench.workloads.tool_tasks import Errand
from orchestrator.errors import UnknownName
from orchestrator.types import Message, Task

__all__ = ["PRESETS", "errands"]

PRESETS: Mapping[str, Callable[[Errand], bool]] = MappingProxyType(
    {
        "all": lambda errand: True,
        "buy": lambda errand: errand.kind == "buy",
        "convert": lambda errand: errand.kind == "convert",
        "busy": lambda errand: max(dict(errand.busy).values(), default=0) > 2,
    }
)
"""Which errands; in `busy` ones a tool stays busy for so long that asking again does not help."""
_TRIED = 100
"""Draws per wanted errand before a split counts as exhausted; one in fourteen is busy."""


def errands(preset: str = "all") -> Workload:
    """Return errands in shops, to be done with four tools. Raises UnknownName, listing the presets."""
    if preset not in PRESETS:
        raise UnknownName(f"no preset named {preset!r}; known: {', '.join(PRESETS)}")
    drawn: dict[str, Errand] = {}

    def draw(split: str, seed: int, count: int) -> list[Task]:
        found: dict[str, Task] = {}
        for errand in filter(PRESETS[preset], islice(tool_tasks.errands(split, seed), _TRIED * count)):
            drawn[errand.id] = errand
            found.setdefault(errand.id, _task(errand))
            if len(found) == count:
                break
        return list(found.values())

    return Workload(
        name=f"errands:preset={preset}",
        settings={"workload": "errands", "preset": preset},
        draw=draw,
        score=exact,
        tools=lambda task: _tools(drawn[str(task.id)].shop()),
    )


def _task(errand: Errand) -> Task:
    return Task(messages=(Message("user", errand.prompt),), id=errand.id, answer=errand.answer)


def _tools(shop: tool_tasks.Shop) -> Sequence[Any]:
    """Return what a shop answers, in the order in which the pocket pair knows it."""

    def calc(expression: str) -> str:
        """Compute an expression."""
        return shop.call("calc", expression)

    def lookup(item: str) -> str:
        """Tell the price of an item."""
        return shop.call("lookup", item)

    def list() -> str:
        """Tell the price of every item."""
        return shop.call("list", "")

    def convert(amount: str, unit: str) -> str:
        """Convert an amount, such as 3 km, to another unit."""
        return shop.call("convert", f"{amount}, {unit}")

    return [calc, lookup, list, convert]
