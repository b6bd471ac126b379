"""Run errands of the split `train` with each engine alone, none of which asks what a task of this folder's asks.

Run `python results/pocket-1-monitors/collect.py JOURNAL`, with the name of a new file.
"""

from __future__ import annotations

import sys

import orchestrator as orc
from orchestrator.bench.whole import Whole
from orchestrator.bench.workloads.errands import errands
from orchestrator.engines.pocket import pocket_pair

CALIBRATION, REPORT = (5,), (6, 7)
"""Seeds of what settings are chosen on, and of what is reported."""
DRAWN = 150
"""Tasks of each."""

work = errands()
others = [work.draw("calibration", seed, DRAWN) for seed in CALIBRATION]
others += [work.draw("report", seed, DRAWN) for seed in REPORT]
asked = {task.messages for drawn in others for task in drawn}
tasks = [task for task in work.draw("train", 0, 1000) if task.messages not in asked]
for engine in ("small", "large"):
    with orc.Pipeline(
        pocket_pair(temperature=0.0),
        router=Whole(engine=engine),
        monitors=(),
        tools=work.tools,
        mode="no_think",
        budget=orc.Budget(steps=24),
        stop_on_answer=False,
        granularity="fused",
        db=sys.argv[1],
    ) as pipeline:
        for task in tasks:
            pipeline.run(task)
