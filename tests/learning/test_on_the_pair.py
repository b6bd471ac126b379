"""The pocket pair, for real: collected, trained on, and routed where the router says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import orchestrator as orc
from orchestrator.bench.workloads.generated import random_calculation
from orchestrator.engines.scorers.verifier import Verifier
from orchestrator.learning.collecting import Collection
from orchestrator.learning.rows import export, read
from orchestrator.learning.training import train, write
from orchestrator.routers.collect import Collect

pytestmark = pytest.mark.embedded

WORKLOAD = random_calculation("mid")
COLLECTED, ROUTED = 60, 25


def test_more_of_the_wrong_drafts_than_of_the_right_ones_go_to_the_large_engine(tmp_path: Path) -> None:
    assert WORKLOAD.check is not None
    scorers = {"verifier": Verifier(check=WORKLOAD.check)}
    file, router = tmp_path / "rows.jsonl", tmp_path / "router.json"
    with orc.Pipeline(orc.engines.pocket_pair(), "small", db=str(tmp_path / "journal.db")) as made:
        policy = Collect(scorer="verifier", go_on="mixed")
        collection = Collection(made, WORKLOAD.draw("train", 0, COLLECTED), policy, scorers)
        asyncio.run(collection.run(2))
        export(file, asyncio.run(collection.about()), collection.rows())
        write(train([file], shape="logistic"), router)
        about, rows = read([file])
        assert about.pair["writers"][0]["name"] == "small"
        assert 0.05 < sum(row.pays for row in rows) / COLLECTED / 8 < 0.5

        arbitrage = orc.routers.Arbitrage(file=str(router), threshold=0.15)
        routed = made.but(router=arbitrage, scorers=scorers, seed=0, stop_on_answer=True)
        sent = {True: 0, False: 0}
        drafted = {True: 0, False: 0}
        for task in WORKLOAD.draw("report", 0, ROUTED):
            run = routed.journal.run(routed.run(task).run_id)
            before: list[str] = []
            kept = {row.step: row.text for row in run.kept()}
            decided = {row.step: row.action for row in run.decisions if row.door == "after_draft"}
            for call in run.calls:
                if call.intent.purpose == "draft" and call.result is not None:
                    step = call.intent.step
                    before = [kept[place] for place in range(step)]
                    is_right = WORKLOAD.check(task.messages, before, call.result.text) >= 1
                    drafted[is_right] += 1
                    sent[is_right] += decided[step] == "rewrite"
    assert drafted[False] > 10
    assert sent[False] / drafted[False] > 2 * sent[True] / drafted[True]
    assert sent[False] / drafted[False] > 0.5
