"""Test, then learn: what counts comes before what is learned, a killed command goes on, and the report adds up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.bench.folder import Folder
from orchestrator.bench.online import ARMS, HELD_OUT, LEARNED, NONE, SECOND, SHUFFLED, Online, OnlinePlan
from orchestrator.bench.online_table import table
from orchestrator.bench.sample import Sample
from orchestrator.bench.scoring import exact
from orchestrator.bench.workloads.base import Workload
from orchestrator.engines.base import Request
from orchestrator.engines.scripted import Scripted
from orchestrator.errors import EngineProtocol, UserError
from orchestrator.memory.handbook import Handbook
from orchestrator.memory.store import Store
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Message, Task

COLOURS = ("red", "green", "blue", "red", "green", "blue", "red", "green")


def draw(split: str, seed: int, count: int) -> list[Task]:
    """Return questions about colours, each of which has one word for an answer."""
    return [
        Task(messages=(Message("user", f"Number {n}: what does {colour} mean?"),), id=f"t{n}", answer=colour[::-1])
        for n, colour in enumerate(COLOURS[:count])
    ]


WORKLOAD = Workload(name="colours", settings={"workload": "colours"}, draw=draw, score=exact)


class Apprentice:
    """Knows no word; learns one a run, and uses the ones it is shown. Keeps what it was asked, in order."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.dies_at = dies_at

    def __call__(self, request: Request) -> str | Exception:
        assert request.prompt is not None
        text = bytes(request.prompt.ids()).decode()
        self.asked.append(text)
        if len(self.asked) - 1 == self.dies_at:
            return EngineProtocol("gone", engine="large")
        colour = next(colour for colour in COLOURS if f"does {colour} mean" in text)
        if "Now write down" in text:
            return f'{{"behavior_{colour}": "When asked what {colour} means, read it backwards."}}'
        if "Reflect on it" in text:
            return "It has to be known."
        if f"behavior_{colour}: When asked what {colour} means" in text:
            return f"By behavior_{colour}: \\boxed{{{colour[::-1]}}}"
        return "\\boxed{unknown}"


@asynccontextmanager
async def online(
    folder: Path, apprentice: Apprentice, *, tasks: int = 5, held_out: int = 3, second: bool = False
) -> AsyncIterator[tuple[Online, Folder]]:
    folder.parent.mkdir(exist_ok=True)
    plan = OnlinePlan(workload=WORKLOAD, split="report", tasks=tasks, held_out=held_out, seed=0, second=second)
    results = Folder(folder)
    async with Pipeline({"large": Scripted(apprentice)}, "large", db=folder.parent / "journal.db") as made:
        results.begin({**plan.settings(), "engines": ["large"]})
        running = Online(made, plan, results)
        try:
            yield running, results
        finally:
            running.close()


def of(results: Folder, arm: str) -> list[Sample]:
    return [each for each in results.samples.values() if each.policy == arm]


async def test_a_task_is_answered_with_what_was_learned_before_it_and_never_from_it(tmp_path: Path) -> None:
    async with online(tmp_path / "results", Apprentice()) as (running, results):
        assert running.due == 5 * 3 + 3 * 3
        await running.run()
        assert running.due == 0
        own = {each.name: each for each in running.learned()}
    # Red, green and blue are met for the first time; then red and green again.
    assert [each.is_right for each in of(results, LEARNED)] == [False, False, False, True, True]
    assert not any(each.is_right for arm in (NONE, SHUFFLED) for each in of(results, arm))
    assert [each.handbook["added"] for each in of(results, LEARNED)] == [1, 1, 1, 0, 0]
    # What is held out is answered with it, and neither learned from nor credited.
    assert [each.is_right for each in of(results, HELD_OUT + LEARNED)] == [True] * 3
    assert [(each.helpful, each.harmful) for each in own.values()] == [(1, 0), (1, 0), (0, 0)]
    with Store(tmp_path / "results" / "shuffled.db") as store:
        twin = {each.name: each.instruction for each in Handbook(store).behaviors()}
    assert own.keys() == twin.keys() and {*twin.values()} == {each.instruction for each in own.values()}
    assert all(own[name].instruction != twin[name] for name in own)


async def test_a_command_that_died_goes_on_and_ends_as_one_that_did_not(tmp_path: Path) -> None:
    async def told(name: str, apprentice: Apprentice) -> list[object]:
        async with online(tmp_path / name / "results", apprentice, tasks=2, held_out=1) as (running, results):
            await running.run()
        # The prompt of a call that failed is counted as well.
        told = [{**each.handbook, "prompt_tokens": 0} for each in results.samples.values()]
        return [(each.key, each.answer, told) for each, told in zip(results.samples.values(), told, strict=True)]

    once = Apprentice()
    wanted = await told("whole", once)
    for dies_at in (2, 4, 11):  # answering with the twin, extracting, and answering what is held out
        first, second = Apprentice(dies_at), Apprentice()
        with pytest.raises(EngineProtocol):
            await told(f"broken{dies_at}", first)
        assert await told(f"broken{dies_at}", second) == wanted
        assert sorted(first.asked[:-1] + second.asked) == sorted(once.asked)


async def test_second_attempts_go_beside_the_answer_without_a_handbook(tmp_path: Path) -> None:
    async with online(tmp_path / "results", Apprentice(), tasks=2, held_out=0, second=True) as (running, results):
        await running.run()
        own = running.learned()
    guided, revised = (of(results, arm) for arm in SECOND)
    assert [each.is_right for each in guided] == [True, True]  # by the word that its own first attempt taught
    assert [each.is_right for each in revised] == [False, False]
    assert all(each.handbook["attempted"] and each.handbook["output_tokens"] for each in guided)
    assert [each.uses["large"].calls for each in revised] == [2, 2]
    # What one question taught itself is not in the handbook that all share.
    assert {each.run for each in own} == {each.run_id for each in of(results, LEARNED)}


async def test_too_few_tasks_and_the_same_question_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too many"):
        async with online(tmp_path / "results", Apprentice(), tasks=9):
            pass


async def test_the_table_says_what_the_samples_come_to(tmp_path: Path) -> None:
    async with online(tmp_path / "results", Apprentice(), tasks=4, held_out=1, second=True) as (running, results):
        await running.run()
        again = Folder(results.path)
        again.read()
        text = table(again.samples.values(), again.settings())
    assert text == table(results.samples.values(), results.settings())
    lines = text.splitlines()
    right = {line[:12].strip(): line[12:].split() for line in lines[lines.index("") :][1:7]}
    assert right["handbook"][0] == "25.0" and right["no handbook"][0] == "0.0"
    assert "From 4 runs: behaviors added 3, proposals refused 1, runs whose proposals could not be read 0." in " ".join(
        text.split()
    )
    assert max(map(len, lines)) <= 80
    assert {json.loads(line)["policy"] for line in (results.path / "samples.jsonl").read_text().splitlines()} == {
        *ARMS,
        *SECOND,
        *(HELD_OUT + arm for arm in ARMS),
    }
