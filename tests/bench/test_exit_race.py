"""Ways to end thoughts beside whole ones and the oracle, and their controls: against sums worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.bench.exit_controls import AtRandom, Knowing, Stated
from orchestrator.bench.exit_race import Ran, against, at_budget, oracle
from orchestrator.bench.exit_race_table import table
from orchestrator.doors import Trial
from orchestrator.types import History, Step, Stop, Task


def ran(task: str, *, right: bool, tokens: int, early: bool = False, looks: tuple[int, ...] = (), way: str = "") -> Ran:
    return Ran(way, task, right, early, tokens, sum(looks), looks[-1] if looks else 0, "5")


WHOLE = [ran("a", right=True, tokens=100), ran("b", right=True, tokens=100), ran("c", right=False, tokens=200)]
KNOWING = [
    ran("a", right=True, tokens=60, early=True, looks=(4, 6)),
    ran("b", right=True, tokens=110, looks=(10,)),
    ran("c", right=False, tokens=230, looks=(10, 20)),
]
OURS = [
    ran("a", right=True, tokens=70, early=True, looks=(5,)),
    ran("b", right=False, tokens=50, early=True),
    ran("c", right=False, tokens=150, early=True),
]


def test_the_oracle_pays_for_no_look_but_the_one_that_is_its_answer() -> None:
    assert [oracle(row).tokens for row in KNOWING] == [56, 100, 200]


def test_a_way_is_compared_with_whole_thoughts_and_the_oracle() -> None:
    found = against(OURS * 20, WHOLE * 20, [oracle(row) for row in KNOWING * 20])
    assert (found.tasks, found.exits, found.tokens) == (60, 60, 90)
    assert found.saved == pytest.approx((400 - 270) / 400)
    assert found.of_oracle is not None
    assert found.of_oracle.value == pytest.approx(130 / 44)
    assert (found.wrong, found.harmful) == pytest.approx(
        (2 / 3, 1 / 3)
    )  # c was wrong however long it was thought about
    assert found.harmful < found.harmful_most < 1
    assert (found.accuracy, found.gained.value) == pytest.approx((1 / 3, -1 / 3))


def test_where_the_oracle_saves_nothing_there_is_no_share() -> None:
    assert against(WHOLE, WHOLE, WHOLE).of_oracle is None


def test_within_a_budget_only_answers_that_came_in_time_are_right() -> None:
    assert [at_budget(OURS, budget) for budget in (69, 70, 1000)] == pytest.approx([0, 1 / 3, 1 / 3])


def test_the_table_has_a_line_for_each_way_on_the_tasks_that_all_ran() -> None:
    rows = [
        *(row._replace(way="whole") for row in WHOLE),
        *(row._replace(way="knowing") for row in KNOWING),
        *(row._replace(way="ours") for row in OURS[:2]),
        ran("other", right=True, tokens=1, way="ours"),
    ]
    lines = table(rows, "whole", "knowing").splitlines()
    assert [line.split()[0] for line in lines] == ["way", "whole", "knowing", "ours", "oracle"]
    assert lines[3].split()[1:5] == ["2", "2", "60.0", "40.0%"]


# ---- controls


class Forced:
    """Answers from a list."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)

    async def trials(self, engine: str, draft: Any = None, *, num: int = 1) -> list[Trial]:
        assert (engine, draft, num) == ("small", None, 1)
        return [Trial(self.answers.pop(0))]


def thought(*texts: str, seed: int = 0, answer: str | None = "5") -> History:
    steps = [
        Step(index=index, attempt=0, writer="small", text=text, num_tokens=9, stop=Stop.DELIMITER)
        for index, text in enumerate(texts)
    ]
    return History(task=replace(Task.of("2+3?"), answer=answer), engines=("small", "large"), seed=seed, steps=steps)


@pytest.mark.parametrize(("answer", "ends"), [("5", True), ("6", False), (None, False)])
async def test_who_knows_the_answer_ends_where_it_would_be_given(answer: str | None, ends: bool) -> None:
    event = await Knowing().look(thought("2+3\n\n"), Forced(answer))  # type: ignore[arg-type]
    assert (event is not None) == ends
    if event is not None:
        assert (event.concludes, event.answer) == (True, "5")


async def test_who_knows_the_answer_does_not_look_where_nothing_is_thought_or_stated() -> None:
    assert await Knowing().look(thought("2+3\n\n", "</think>\n5\n\n"), Forced()) is None  # type: ignore[arg-type]
    assert await Knowing(when="candidates").look(thought("2+3\n\n"), Forced()) is None  # type: ignore[arg-type]


def test_a_stated_answer_ends_the_thought_and_nobody_is_asked() -> None:
    assert Stated().watch(thought("2+3\n\n")) is None
    event = Stated().watch(thought("2+3\n\n", "2+3=5\n5\n\n"))
    assert event is not None and event.concludes and event.answer is None
    assert Stated().watch(thought("2+3\n\n", "</think>\n5\n\n")) is None


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_ends_at_random_are_as_frequent_as_was_asked_for_and_the_same_again(share: float) -> None:
    drawn = [AtRandom(share=share).watch(thought("2+3\n\n", seed=seed)) is not None for seed in range(400)]
    assert sum(drawn) / 400 == pytest.approx(share, abs=0.07)
    assert drawn == [AtRandom(share=share).watch(thought("2+3\n\n", seed=seed)) is not None for seed in range(400)]
