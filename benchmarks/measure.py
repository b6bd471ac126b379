"""What every benchmark here needs: interleaved repeats, medians, a header that says where and when.

Machines are shared and noisy, so variants that are compared take turns within one run, differences
are taken between neighbours in time, and the spread is printed beside every median.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from time import process_time_ns
from typing import Any, NamedTuple, TypeVar

from orchestrator.bench.packed import data_in
from orchestrator.bench.where import where

__all__ = [
    "Options",
    "Relay",
    "Report",
    "against",
    "interleaved",
    "lines_in",
    "median",
    "options",
    "quantile",
    "raced",
]

T = TypeVar("T")

_MARKS = {True: "met", False: "MISSED", None: ""}


class Options(NamedTuple):
    """How to run a benchmark."""

    is_quick: bool
    """A few steps once, to see that it works: its figures mean nothing."""
    as_json: bool
    repeats: int | None
    """None: as many as the benchmark sees fit."""

    def times(self, usual: int) -> int:
        """Return how often to repeat a measurement that is usually repeated `usual` times."""
        return self.repeats or (1 if self.is_quick else usual)


def options(description: str | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few steps only: shows that it works, measures nothing")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--repeats", type=int, help="measurements of each variant, where the usual number will not do")
    given = parser.parse_args()
    return Options(given.quick, given.json, given.repeats)


# --- taking turns -----------------------------------------------------------------------------


async def interleaved(variants: Mapping[str, Callable[[], Awaitable[T]]], repeats: int) -> dict[str, list[T]]:
    """Run every variant once unmeasured, then `repeats` times in turn, each round beginning with another one.

    Entry i of every list comes from round i, so that lists may be subtracted entry by entry.
    """
    found: dict[str, list[T]] = {name: [] for name in variants}
    names = list(variants)
    for name in names:
        await variants[name]()
    for number in range(repeats):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(await variants[name]())
    return found


class Relay:
    """Lets several loops run side by side in one event loop, a few laps each in turn.

    So a slow second of the machine slows all of them. A loop awaits `lap` at the beginning of every lap.
    """

    def __init__(self, laps: int) -> None:
        self.millis: list[float] = []
        """CPU of each finished lap, turns of others left out."""
        self._laps = laps
        self._go = asyncio.Event()
        self._rests = asyncio.Event()
        self._began_ns = 0

    def reset(self) -> None:
        """Make ready for another run."""
        self.millis = []
        self._began_ns = 0
        self._go.clear()
        self._rests.clear()

    async def lap(self) -> None:
        """End a lap and begin the next, after the others' turn where ours is over."""
        now_ns = process_time_ns()
        if self._began_ns:
            self.millis.append((now_ns - self._began_ns) / 1e6)
        if len(self.millis) % self._laps == 0:
            self._go.clear()
            self._rests.set()
            await self._go.wait()
        self._began_ns = process_time_ns()

    async def turn(self, loop: asyncio.Task[None]) -> None:
        """Give `loop`, which runs these laps, its turn."""
        self._rests.clear()
        self._go.set()
        await self.rest(loop)

    async def rest(self, loop: asyncio.Task[None]) -> None:
        """Wait until `loop` has come to the end of its turn, or to its end."""
        resting = asyncio.ensure_future(self._rests.wait())
        await asyncio.wait((resting, loop), return_when=asyncio.FIRST_COMPLETED)
        resting.cancel()


async def raced(loops: Mapping[str, tuple[Relay, Callable[[], Awaitable[None]]]]) -> dict[str, list[float]]:
    """Run all loops to their ends, taking turns, and return the milliseconds of CPU of each one's laps."""
    running = {}
    for name, (relay, run) in loops.items():
        relay.reset()
        running[name] = asyncio.ensure_future(run())
        await relay.rest(running[name])  # so that nobody's beginning falls into another's turn
    while not all(task.done() for task in running.values()):
        for name, task in running.items():
            if not task.done():
                await loops[name][0].turn(task)
    for task in running.values():
        task.result()
    return {name: relay.millis for name, (relay, _) in loops.items()}


def against(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the differences, round by round."""
    return [own - other for own, other in zip(ours, theirs, strict=True)]


# --- figures ----------------------------------------------------------------------------------


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, -int(-share * len(ranked) // 1) - 1)]


class Report:
    """The figures of one benchmark, printed as a table or as JSON.

    A figure is the median over the repeats. A bar is what it must not exceed, or with `at_least`
    what it must reach.
    """

    def __init__(self, title: str, chosen: Options) -> None:
        self._title = title
        self._chosen = chosen
        self._where = _where()
        self._rows: list[dict[str, Any]] = []

    def add(
        self, name: str, values: Sequence[float], unit: str, *, bar: float | None = None, at_least: bool = False
    ) -> None:
        """Note one line: `values` has one entry per repeat."""
        figure = median(values)
        is_met = None if bar is None else figure >= bar if at_least else figure <= bar
        self._rows.append(
            {
                "name": name,
                "median": figure,
                "unit": unit,
                "spread": [min(values), max(values)],
                "bar": bar,
                "is_met": is_met,
            }
        )

    def print(self) -> None:
        """Print everything to standard output."""
        where = self._where | {"load_after": _load(), "finished": _now()}
        if self._chosen.as_json:
            print(json.dumps({"benchmark": self._title, "quick": self._chosen.is_quick, **where, "rows": self._rows}))
            return
        print(self._title + ("   (quick: the figures mean nothing)" if self._chosen.is_quick else ""))
        for name, value in where.items():
            print(f"  {name:13} {value}")
        width = max(len(row["name"]) for row in self._rows)
        print(f"\n{'':{width}}    median   unit      lowest   highest       bar")
        for row in self._rows:
            low, high = row["spread"]
            bar = "" if row["bar"] is None else f"{row['bar']:9.3f}  {_MARKS[row['is_met']]}"
            print(f"{row['name']:{width}} {row['median']:9.3f}   {row['unit']:6} {low:9.3f} {high:9.3f} {bar}".rstrip())


def lines_in(file: Path) -> list[Any]:
    """Return what each line of a file of JSON holds, or of the same file packed; nothing if neither is there."""
    return [json.loads(line) for line in data_in(file).splitlines()]


# --- where and when ---------------------------------------------------------------------------


def _where() -> dict[str, str]:
    return {**where(), "load_before": _load()}


def _load() -> str:
    try:
        return " ".join(f"{load:.2f}" for load in os.getloadavg())
    except OSError:
        return "unknown"


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
