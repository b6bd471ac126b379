"""Runs of real engines: every decision of the pocket pair is made again without it."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import Any

import pytest

import orchestrator as orc
from orchestrator import policies
from orchestrator.learning.collecting import Collection
from orchestrator.memory.base import StoredRun
from orchestrator.routers import (
    RSD,
    AnswerGate,
    Entropy,
    Hybrid,
    LargeOnly,
    Random,
    SpecReason,
    SpeculativeThinking,
)
from orchestrator.routers.collect import Collect
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync
from orchestrator.traces.policy import router_of
from orchestrator.traces.replay import replayed
from orchestrator.traces.tree import followed
from orchestrator.types import Task

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


def test_a_tree_of_the_pair_gives_what_running_each_threshold_gives() -> None:
    with Pipeline(orc.engines.pocket_pair(), "small", granularity="fused", db=":memory:") as pipeline:
        task = Task.of("Compute 31*9 - 45.")
        collection = Collection(pipeline, [task], Collect(scorer="judge", logprobs=0), tree=6)
        run_sync(collection.run(1))
        tree = pipeline.journal.run(collection.run_ids[0])
        followed_to_an_end = 0
        for threshold in (0, 7, 9, 10):
            router = SpecReason(threshold=threshold)
            found = followed(pipeline.journal, tree, router)
            real = pipeline.journal.run(pipeline.but(router=router).run(task).run_id)
            assert real.outcome is not None
            assert found.is_known, found.unknown
            assert (found.text, found.answer) == ("".join(row.text for row in real.kept()), real.outcome.answer)
            names = ("engine", "purpose", "fate", "calls", "prompt_tokens", "output_tokens")
            told, paid = (
                [[row[name] for name in names] for row in rows]
                for rows in (found.ledger.rows(), loads(real.outcome.ledger))
            )
            assert told == paid
            followed_to_an_end += bool(found.path)
        assert followed_to_an_end


def test_a_tree_without_draws_gives_what_policies_that_plan_drafts_of_the_large_engine_give() -> None:
    with Pipeline(orc.engines.pocket_pair(temperature=0.0), "small", granularity="fused", db=":memory:") as pipeline:
        task = Task.of("Compute 31*9 - 45.")
        collection = Collection(pipeline, [task], Collect(scorer="judge", logprobs=0), tree=6)
        run_sync(collection.run(1))
        tree = pipeline.journal.run(collection.run_ids[0])
        for router in (LargeOnly(), Random(large_share=0.5), SpecReason(threshold=7, first_n=2)):
            found = followed(pipeline.journal, tree, router)
            real = pipeline.journal.run(pipeline.but(router=router).run(task).run_id)
            assert real.outcome is not None
            assert found.is_known, found.unknown
            assert (found.text, found.answer) == ("".join(row.text for row in real.kept()), real.outcome.answer)
            names = ("engine", "purpose", "fate", "calls", "prompt_tokens", "output_tokens")
            told, paid = (
                sorted([row[name] for name in names] for row in rows)
                for rows in (found.ledger.rows(), loads(real.outcome.ledger))
            )
            assert told == paid


def test_where_texts_are_drawn_a_planned_draft_of_the_large_engine_is_nobody_s() -> None:
    with Pipeline(orc.engines.pocket_pair(), "small", granularity="fused", db=":memory:") as pipeline:
        collection = Collection(pipeline, [Task.of(TASKS[1])], Collect(scorer="judge", logprobs=0), tree=1)
        run_sync(collection.run(1))
        found = followed(pipeline.journal, pipeline.journal.run(collection.run_ids[0]), LargeOnly())
        assert found.unknown == "draft large at step 0: nobody wrote what would stand"
