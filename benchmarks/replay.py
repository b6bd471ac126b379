"""What it costs to decide stored runs again under another threshold, the reading of the journal in it.

Run `python benchmarks/replay.py`. The runs are of `specreason` over scripted engines, of 12 steps each, about 200
letters a step, a third of them rewritten, stored on disk. They are read and replayed one after another, as
`orchestrator trace replay --all --threshold 8` does, on one core.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import process_time

from measure import Options, Report, options

from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.memory.base import StoredRun
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.routers import SpecReason
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.traces.policy import router_of
from orchestrator.traces.replay import replayed
from orchestrator.traces.what_if import one_step

BAR_S = 5.0
RUNS = 1000
STEPS = 12
QUICK_RUNS = 20
VALUES = [5.0, 6.0, 7.0, 8.0, 9.0]


def write(request: Request) -> str:
    """Write a step, or rate one with a digit, by where the run is and whose it is."""
    assert request.prompt is not None
    done = bytes(request.prompt.ids()).count(b"\n\n")
    if request.purpose == "judge":
        return str(4 + (request.seed + done) % 6)
    if done >= STEPS - 1:
        return "So the answer is \\boxed{42}."
    return f"Step {done} of {request.seed}: " + "what is left of the sum stays as it is, " * 5 + "\n\n"


def store_runs(path: Path, number: int) -> None:
    """Run `number` tasks with scripted engines and the journal at `path`."""
    engines = {"small": Scripted(write), "large": Scripted(write)}
    with Pipeline(engines, SpecReason(threshold=6), db=str(path), granularity="fused") as pipeline:
        for task in range(number):
            pipeline.run(f"What is {task} + {42 - task}?")


def read(journal: Journal) -> Iterator[StoredRun]:
    """Read every run, oldest first."""
    for line in reversed(journal.runs(limit=journal.counts()["runs"])):
        yield journal.at(line.key)


def reading_s(journal: Journal) -> float:
    """Return the CPU of reading alone."""
    began_s = process_time()
    for _ in read(journal):
        pass
    return process_time() - began_s


def replay_s(journal: Journal, threshold: float) -> tuple[float, int]:
    """Return the CPU of reading and replaying all runs, and how many of them part."""
    began_s, parted, router = process_time(), 0, None
    for stored in read(journal):
        router = router or router_of(stored, threshold=threshold)
        parted += replayed(stored, router).parted is not None
    return process_time() - began_s, parted


def what_if_s(journal: Journal) -> float:
    """Return the CPU of asking every decision at each of VALUES."""
    began_s = process_time()
    one_step(read(journal), "threshold", VALUES)
    return process_time() - began_s


def main(chosen: Options) -> None:
    """Measure and print."""
    report = Report("replay", chosen)
    number = QUICK_RUNS if chosen.is_quick else RUNS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        store_runs(path, number)
        with Store(path, readonly=True) as store:
            journal, times = Journal(store), chosen.times(5)
            same, other = ([replay_s(journal, threshold) for _ in range(times)] for threshold in (6, 8))
            report.add("reading alone", [reading_s(journal) for _ in range(times)], "s")
            report.add("the same threshold, all reproduced", [seconds for seconds, _ in same], "s", bar=BAR_S)
            report.add("another threshold", [seconds for seconds, _ in other], "s", bar=BAR_S)
            report.add(
                f"{len(VALUES)} thresholds, each decision alone", [what_if_s(journal) for _ in range(times)], "s"
            )
            report.add("runs that part under the same threshold", [float(parted) for _, parted in same], "runs")
            report.add("runs that part under another threshold", [float(parted) for _, parted in other], "runs")
    report.print()


if __name__ == "__main__":
    main(options(__doc__))
