"""What is learned, let in beside other processes that change the handbook."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from topics import Topic

from orchestrator.behaviors import Add, Credit
from orchestrator.handbook.gates import Source
from orchestrator.handbook.proposals import Proposal
from orchestrator.learning.adding import Added, Adding
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store

CARRY = Proposal("behavior_carry", "Carry the ten along.")


@pytest.fixture
def handbook(tmp_path: Path) -> Iterator[Handbook]:
    with Store(tmp_path / "handbook.db") as store:
        made = Handbook(store)
        made.apply([Add("behavior_look", "Look twice.")])
        yield made


class Beside(Topic):
    """Embeds, and each time something else happens to the handbook meanwhile."""

    def __init__(self, happens: Callable[[int], object]) -> None:
        super().__init__("arry")
        self.happens, self.times = happens, 0

    async def _happen(self) -> None:
        self.times += 1
        self.happens(self.times)
        await asyncio.sleep(0)

    async def space(self) -> str:
        await self._happen()
        return await super().space()

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        await self._happen()
        return await super().embed(texts)


async def added(handbook: Handbook, embedding: Topic) -> Added:
    adding = Adding(handbook, "large", embedding)
    return await asyncio.wait_for(adding.add([CARRY], Source(run="run"), "learned"), 5)


async def test_runs_that_credit_behaviors_all_the_time_do_not_keep_it_from_learning(handbook: Handbook) -> None:
    embedding = Beside(lambda times: handbook.apply([Credit(1, f"run {times}", "helpful")]))
    found = await added(handbook, embedding)
    assert [each.op for each in found.changes] == ["add"]
    assert embedding.asked.count("behavior_carry: Carry the ten along.") == 1


async def test_what_another_process_adds_meanwhile_is_looked_at_and_proposals_are_embedded_once(
    handbook: Handbook,
) -> None:
    def happens(times: int) -> None:
        if 2 <= times <= 4:
            handbook.apply([Add(f"behavior_{times}", f"Take the carry number {times}.")])

    embedding = Beside(happens)
    found = await added(handbook, embedding)
    assert found.changes == () and [each.gate for each in found.refused] == ["twice"]
    assert embedding.asked.count("behavior_carry: Carry the ten along.") == 1
