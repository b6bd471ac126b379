"""The pocket pair and its step scorer as a pipeline, to compare policies on without a GPU or a download.

orchestrator run examples/arithmetic.jsonl --pipeline examples/pocket.py:pipeline
orchestrator bench run --pipeline examples/pocket.py:pipeline --policies specreason:judge=scorer --tasks 30 --out mine
"""

import orchestrator as orc

pipeline = orc.Pipeline(
    engines={"scorer": orc.engines.pocket_scorer(), **orc.engines.pocket_pair()},
    router=orc.routers.SpecReason(threshold=7),
    budget=orc.Budget(tokens=2000, seconds=60),
)
