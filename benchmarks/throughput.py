"""How many reasoning steps a second one process drives, 256 runs at a time, journal on disk included.

Run `python benchmarks/throughput.py`. The engines are scripted; every call gives up its turn of the
event loop once, so that the runs really take turns. `by wall` is steps per second of the clock, on
one core, because one process uses one; `by CPU` is steps per second of CPU, which is what a machine
with other work on it can be judged by. Opening and ending the runs is included. `specreason` keeps
every draft after a judge call (two calls a step), `small` makes one call a step.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Literal, NamedTuple

from measure import Options, Report, interleaved, options
from scripts import KEPT, judged, pipeline, yielding

from orchestrator.runtime.pipeline import Pipeline

CONCURRENT = 256
BARS = {"fused": 2500.0, "graph": 1000.0}


class Rates(NamedTuple):
    """Steps per second."""

    by_wall: float
    by_cpu: float


async def drive(pipe: Pipeline, runs: int) -> Rates:
    """Run `runs` tasks at once and count their steps."""
    gc.collect()
    wall_s, cpu_s = perf_counter(), process_time()
    results = await asyncio.gather(*(pipe.arun(f"Compute {number}*38 - 98*6.") for number in range(runs)))
    wall_s, cpu_s = perf_counter() - wall_s, process_time() - cpu_s
    steps = sum(len(result.steps) for result in results)
    return Rates(steps / wall_s, steps / cpu_s)


def variant(
    folder: Path, granularity: Literal["steps", "fused"], router: str, runs: int, steps: int
) -> Callable[[], Awaitable[Rates]]:
    """Return one batch of runs, as a variant."""
    db = folder / f"{granularity}-{router}.db"
    chosen = None if router == "specreason" else router
    pipe = pipeline(yielding(judged(KEPT)), db, steps, granularity, chosen)

    async def run() -> Rates:
        return await drive(pipe, runs)

    return run


async def measure(chosen: Options) -> Report:
    """Run all batches in turn."""
    runs, steps = (8, 4) if chosen.is_quick else (CONCURRENT, 20)
    lines = Report(f"Throughput, one process, {runs} concurrent runs", chosen)
    with tempfile.TemporaryDirectory() as folder:
        variants = {
            f"{name}, {router}": variant(Path(folder), granularity, router, runs, steps)
            for name, granularity in (("fused", "fused"), ("graph", "steps"))
            for router in ("specreason", "small")
        }
        found = await interleaved(variants, chosen.times(5))
    for name, rates in found.items():
        bar = BARS[name.split(",")[0]] if "specreason" in name else None
        lines.add(f"{name}: by wall", [rate.by_wall for rate in rates], "step/s", bar=bar, at_least=True)
        lines.add(f"{name}: by CPU", [rate.by_cpu for rate in rates], "step/s", bar=bar, at_least=True)
    return lines


if __name__ == "__main__":
    asyncio.run(measure(options(__doc__))).print()
