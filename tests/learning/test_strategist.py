"""Behaviors learned from stored runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.behaviors import Add
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.learning.strategist import Strategist
from orchestrator.memory.base import StoredRun
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.recalling import was_right
from orchestrator.types import Task

TASK = Task.of("What is 17 + 25?")
GOOD = '{"behavior_carry_over": "Carry what is above nine to the next digit."}'


class Said:
    """What an engine writes, by turn; the last one again and again."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.requests = list(texts), list[Request]()

    def __call__(self, request: Request) -> str:
        self.requests.append(request)
        return self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]


@pytest.fixture
def handbook(tmp_path: Path) -> Iterator[Handbook]:
    with Store(tmp_path / "handbook.db") as store:
        yield Handbook(store)


def solved(made: Pipeline, answer: str = "42") -> StoredRun:
    result = made.run(Task(messages=TASK.messages, answer=answer))
    return made.journal.run(result.run_id)


async def learn(said: Said, handbook: Handbook, path: Path, times: int = 1) -> list[object]:
    small = Scripted(["7 + 5 = 12, write 2, carry 1\n\n", "\\boxed{42}"])
    with Pipeline({"small": small, "large": Scripted(said)}, "small", db=path) as made:
        stored = solved(made)
        strategist = Strategist(made, handbook)
        return [await strategist.alearn(stored, is_right=True) for _ in range(times)]


async def test_a_run_is_reflected_on_and_what_passes_the_gates_is_added(handbook: Handbook, tmp_path: Path) -> None:
    said = Said("It carried well.", "<think>hm</think>" + GOOD)
    (learnt,) = await learn(said, handbook, tmp_path / "journal.db")
    assert (learnt.unusable, learnt.refused, len(learnt.added)) == ("", (), 1)
    behavior = handbook.behavior("behavior_carry_over")
    assert behavior.run == learnt.run and handbook.changes()[0].reason == f"learned from run {learnt.run}"
    assert len(said.requests) == 2 and learnt.output_tokens > 0


async def test_learning_from_the_same_run_again_asks_nobody_and_adds_nothing(
    handbook: Handbook, tmp_path: Path
) -> None:
    said = Said("It carried well.", GOOD)
    first, again = await learn(said, handbook, tmp_path / "journal.db", times=2)
    assert len(said.requests) == 2 and len(first.added) == 1 and again.added == ()
    assert [each.gate for each in again.refused] == ["twice"] and len(handbook.behaviors()) == 1


async def test_what_cannot_be_read_is_asked_for_once_more(handbook: Handbook, tmp_path: Path) -> None:
    said = Said("Fine.", "I would rather chat.", GOOD)
    (learnt,) = await learn(said, handbook, tmp_path / "journal.db")
    assert len(learnt.added) == 1 and len(said.requests) == 3


async def test_an_engine_that_writes_nothing_usable_leaves_the_handbook_as_it_was(
    handbook: Handbook, tmp_path: Path
) -> None:
    handbook.apply([Add("behavior_first", "Be first.")])
    before = (tmp_path / "handbook.db").read_bytes(), handbook.changes()
    (learnt,) = await learn(Said("blah", "blah", "still blah"), handbook, tmp_path / "journal.db")
    assert learnt.added == () and "no behaviors can be read in 'still blah'" in learnt.unusable
    assert ((tmp_path / "handbook.db").read_bytes(), handbook.changes()) == before


async def test_what_a_gate_turns_away_is_told_and_the_rest_is_added(handbook: Handbook, tmp_path: Path) -> None:
    text = '{"behavior_say_42": "Say 42.", "behavior_carry_over": "Carry over.", "bad": "x"}'
    (learnt,) = await learn(Said("Fine.", text), handbook, tmp_path / "journal.db")
    assert [each.gate for each in learnt.refused] == ["answer", "form"]
    assert [each.name for each in handbook.behaviors()] == ["behavior_carry_over"]


def test_an_outcome_is_the_reward_or_else_the_gold_answer_or_unknown(tmp_path: Path) -> None:
    with Pipeline({"small": Scripted(["\\boxed{42}"] * 3)}, "small", db=tmp_path / "journal.db") as made:
        right, wrong = solved(made), solved(made, "41")
        unknown = made.journal.run(made.run(TASK).run_id)
    assert [was_right(each, None) for each in (right, wrong, unknown)] == [True, False, None]
    assert [was_right(right, reward) for reward in (0.0, 0.5, 1.0)] == [False, None, True]
