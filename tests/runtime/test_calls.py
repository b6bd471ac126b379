"""Writing calls are booked by the candidate they belong to, so that several can be in flight at once."""

from __future__ import annotations

import asyncio

from orchestrator.engines.base import Chain
from orchestrator.engines.retry import RetryPolicy
from orchestrator.engines.scripted import Scripted
from orchestrator.ledger import Fate, Ledger
from orchestrator.memory.base import RunRow
from orchestrator.memory.journal import Journal
from orchestrator.memory.store import Store
from orchestrator.runtime.budget import Spender
from orchestrator.runtime.calls import Calls, Place
from orchestrator.types import Budget, Sampling


def row() -> RunRow:
    return RunRow(id="it", parent=None, batch="", position=0, task="{}", settings="{}", engines="{}", created_s=0.0)


async def test_the_calls_of_a_kept_candidate_are_its_own_and_those_of_later_steps_stay() -> None:
    with Store(":memory:") as store:
        journal = Journal(store)
        ledger = Ledger(("small",))
        engine = Scripted(["draft", "other", "ahead"], latency_s=0.001)
        calls = Calls(
            journal.open_run(row()), 7, {"small": engine}, {"small": 1000}, journal, ledger,
            Spender(Budget(), {}, spent_s=0.0), RetryPolicy(1), None,
        )  # fmt: skip

        async def write(place: Place, purpose: str) -> None:
            await calls("small", purpose, Chain([1]).prefix(), place=place, sampling=Sampling(), max_tokens=9)

        await asyncio.gather(write((0, 0), "draft"), write((0, 1), "rewrite"), write((1, 0), "draft"))
        assert [purpose for _, purpose, _ in calls.take((0, 1))] == ["rewrite"]
        left = calls.leave(0)
        for each in left:
            ledger.discard(*each)
        assert [entry.output_tokens for *_, entry in left] == [5]
        assert (calls.take((0, 1)), calls.leave(0), list(calls.booked)) == ([], [], [(1, 0)])
        assert ledger.total(fate=Fate.DISCARDED).calls == 1
        assert [purpose for _, purpose, _ in calls.leave()] == ["draft"]
        journal.close()
