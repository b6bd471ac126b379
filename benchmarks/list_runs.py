"""What `orchestrator trace list` takes over 100,000 runs of 10 steps, beyond the start-up of its process.

Run `python benchmarks/list_runs.py`. Every figure is the wall time of whole processes; from the lists that of
`orchestrator --version` is taken away, round by round. The journal is made first, which takes a minute and 650 MB.
Beside the lists stands `trace stats`, which reads a million steps.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

from many_runs import make_journal
from measure import Options, Report, against, interleaved, options

RUNS = 100_000
STEPS = 10
QUICK_RUNS = 200
QUICK_STEPS = 3
BAR_S = 0.3
STATS_BAR_S = 5.0
BARE = "orchestrator --version"
STATS = "trace stats"
MAIN = "import sys; from orchestrator.cli import main; main()"
LISTS = {
    "the newest": (),
    "--status failed": ("--status", "failed"),
    "--status interrupted: none": ("--status", "interrupted"),
    "--policy specreason": ("--policy", "specreason"),
    "--engine large": ("--engine", "large"),
    "--batch": ("--batch", "batch 0"),
    "--since, --until": ("--since", "2023-11-15", "--until", "2023-12-15"),
    "--cost, the dearest": ("--cost", "100..", "--by", "cost"),
    "--cost: none": ("--cost", "1e12.."),
    "--seconds, --tokens": ("--seconds", "..5", "--tokens", "10.."),
    "--forks-of: none": ("--forks-of", "last"),
}


def variant(*arguments: str) -> Callable[[], Awaitable[float]]:
    """Return one process, as a variant."""

    async def run() -> float:
        began_s = perf_counter()
        subprocess.run([sys.executable, "-c", MAIN, *arguments], capture_output=True, check=True)
        return perf_counter() - began_s

    return run


async def measure(chosen: Options) -> Report:
    """List and add up, in turn."""
    lines = Report("Lists of very many runs, wall time of fresh processes", chosen)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        make_journal(path, *((QUICK_RUNS, QUICK_STEPS) if chosen.is_quick else (RUNS, STEPS)))
        db = ("--db", str(path))
        lists = {name: variant("trace", "list", *db, *flags) for name, flags in LISTS.items()}
        found = await interleaved(
            {BARE: variant("--version"), **lists, STATS: variant("trace", "stats", *db)}, chosen.times(5)
        )
    lines.add(BARE, found[BARE], "s")
    for name in LISTS:
        lines.add(f"trace list, {name}", against(found[name], found[BARE]), "s", bar=BAR_S)
    lines.add(STATS, against(found[STATS], found[BARE]), "s", bar=STATS_BAR_S)
    return lines


if __name__ == "__main__":
    asyncio.run(measure(options(__doc__))).print()
