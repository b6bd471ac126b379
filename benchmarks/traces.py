"""What it takes to look at a long run: wall time of whole processes, beyond their start-up.

Run `python benchmarks/traces.py`. One run of 1,000 steps, a third of them rewritten, 24 words a step, lies in a journal
on disk. Start-up is `orchestrator --version`; each round has its own, which is taken off. What is printed goes to no
terminal, and once in colour, as on one.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from many_runs import make_journal
from measure import Options, Report, against, interleaved, options
from start_up import process, variant

BAR_S = 0.5
STEPS = 1000
QUICK_STEPS = 20
COMMAND = "from orchestrator.cli import main; main()"
COLOURED = f"import os; os.environ['FORCE_COLOR'] = '1'; {COMMAND}"
START_UP = "orchestrator --version"


async def measure(chosen: Options) -> Report:
    """Start everything in turn."""
    report = Report("Looking at a run of 1,000 steps, wall time of fresh processes", chosen)
    steps = QUICK_STEPS if chosen.is_quick else STEPS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        make_journal(path, 1, steps)
        shows = {
            "trace show": process(COMMAND, "trace", "show", "--db", str(path)),
            "trace show, in colour": process(COLOURED, "trace", "show", "--db", str(path)),
            "trace show --only escalated": process(COMMAND, "trace", "show", "--only", "escalated", "--db", str(path)),
            "trace show --step, the last": process(
                COMMAND, "trace", "show", "--step", str(steps - 1), "--db", str(path)
            ),
        }
        commands = {START_UP: process(COMMAND, "--version"), **shows}
        os.environ["COLUMNS"] = "80"
        variants = {name: variant(lambda words=words: words) for name, words in commands.items()}
        found = await interleaved(variants, chosen.times(10))
    report.add(START_UP, found[START_UP], "s")
    for name in shows:
        report.add(f"{name}, beyond start-up", against(found[name], found[START_UP]), "s", bar=BAR_S)
    return report


if __name__ == "__main__":
    asyncio.run(measure(options(__doc__))).print()
