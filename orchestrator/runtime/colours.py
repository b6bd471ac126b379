"""The colours of a timeline: one of its own for each engine, by its place in the pipeline, and one for each verdict.

Those of engines can be read on black and on white: each stands out at 3 to 1 or more from both. Nothing depends on
colour; what does not stand is dimmed, and marked with an `x` as well.
"""

from __future__ import annotations

from json import loads

from orchestrator.memory.base import StoredRun

__all__ = ["ENGINES", "STATUS", "VERDICTS", "engine_colours"]

ENGINES = ("#0087ff", "#d75f00", "#af5fd7", "#008787", "#d7005f", "#878700")
"""Of the cheapest engine first; with more engines than colours they begin again. All are of the 256 of terminals."""
STATUS = {
    "completed": "green",
    "running": "cyan",
    "degraded": "yellow",
    "no_answer": "yellow",
    "budget": "yellow",
    "interrupted": "yellow",
}
"""Of runs; every other status is red."""
VERDICTS = {"kept": "green", "inherited": "green", "failed": "red", "rejected": "yellow", "rolled back": "yellow"}
"""The others have none."""


def engine_colours(stored: StoredRun) -> dict[str, str]:
    """Return the colour of each engine of a run, by name, in the pipeline's order."""
    return {name: ENGINES[place % len(ENGINES)] for place, name in enumerate(loads(stored.run.engines))}
