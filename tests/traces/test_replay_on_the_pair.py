"""Runs of real engines: every decision of the pocket pair is made again without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import orchestrator as orc
from orchestrator import policies
from orchestrator.memory.base import StoredRun
from orchestrator.routers import RSD, AnswerGate, Entropy, Hybrid, SpecReason, SpeculativeThinking
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.traces.policy import router_of
from orchestrator.traces.replay import replayed

pytestmark = pytest.mark.embedded

FILE = str(Path(__file__).parents[2] / "examples/pocket_router.json")
ROUTERS = [
    SpecReason(threshold=5),
    SpecReason(reading="average"),
    RSD(scorer="judge"),
    Entropy(threshold=0.2),
    Hybrid(keep="judge >= 7 and entropy_max < 1"),
    SpeculativeThinking(),
    AnswerGate(),
    policies.router("arbitrage", {"file": FILE, "threshold": 0.005}, "test"),
]
TASKS = ["Compute 38*4 - 98*6.", "Compute 7*8 + 12*3."]


@pytest.fixture(scope="module")
def runs() -> dict[str, list[StoredRun]]:
    """Two runs of each router, the second with a look at what the other engine would have written."""
    found: dict[str, list[StoredRun]] = {}
    with Pipeline(orc.engines.pocket_pair(), "small", granularity="fused", db=":memory:") as lent:
        for router in ROUTERS:
            for share, task in enumerate(TASKS):
                line = lent.but(router=router, counterfactuals=float(share) / 2)
                found.setdefault(repr(router), []).append(lent.journal.run(line.run(task).run_id))
    return found


@pytest.mark.parametrize("router", ROUTERS, ids=lambda router: type(router).__name__)
def test_every_decision_of_the_pair_is_reproduced(router: Any, runs: dict[str, list[StoredRun]]) -> None:
    for stored in runs[repr(router)]:
        again = replayed(stored, router)
        assert again.parted is None, again.parted
        told = [row for row in stored.decisions if row.door in ("before_step", "after_draft")]
        assert [verdict.row for verdict in again.alike] == told
        for verdict in again.alike:
            assert verdict.row is not None
            assert verdict.row.reason == verdict.made.reason
        assert stored.outcome is not None and again.answer == stored.outcome.answer


def test_the_router_that_a_run_names_is_the_one_that_ran(runs: dict[str, list[StoredRun]]) -> None:
    for router in ROUTERS[:-1]:
        assert router_of(runs[repr(router)][0]) == router
