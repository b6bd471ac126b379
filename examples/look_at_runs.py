"""Stored runs in Python, cell by cell: open it in a notebook (VS Code, Jupytext), or run it with plain Python.

python examples/look_at_runs.py
"""

# %% Three questions to the two tiny models inside the package, stored in a journal of their own.
from pathlib import Path
from tempfile import mkdtemp

from rich import print

import orchestrator as orc

journal = Path(mkdtemp()) / "journal.db"
with orc.Pipeline(orc.engines.pocket_pair(), orc.routers.SpecReason(threshold=7), db=journal) as pipeline:
    for question, gold in (("38*4 - 98*6", "-436"), ("7*8 + 12*3", "92"), ("45*2 - 17*3", "39")):
        asked = orc.Message("user", f"Compute {question}.")
        pipeline.run(orc.Task(messages=(asked,), answer=gold))

# %% The journal is opened to read. A notebook shows the newest runs, and a run as its timeline.
traces = orc.traces.open(journal)
print(traces)
print(traces["last"])

# %% Why did it call the large model? Every step that was turned away, with its score.
for run in traces:
    for draft in run.candidates:
        for decision in draft.decisions:
            if decision.action == "rewrite":
                print(f"{run.id} step {draft.step}: {decision.score} < {decision.threshold}, {draft.text!r}")
    print(f"{run.answer} of {run.gold}: {run.ledger.large_share:.0%} of output tokens by the large engine")

# %% What would have happened with another threshold? No engine is asked.
print(traces.replay(threshold=3))
for each in traces.what_if("threshold", [3, 5, 7, 9]):
    print(f"threshold {each.value}: {each.flips} of {each.decisions} decisions flip, by themselves")

# %% As tables, for pandas.
print(traces.frame("runs")[["run", "status", "large_share", "seconds"]])
print(traces.frame("calls").groupby(["engine", "purpose"])["output_tokens"].sum())

traces.close()
