"""Workloads that make their tasks: the same arguments the same tasks, no task in two splits, none twice."""

from __future__ import annotations

from itertools import combinations

import pytest

from orchestrator.bench.workloads import WORKLOADS, workload_of
from orchestrator.bench.workloads.base import Workload, fingerprint
from orchestrator.bench.workloads.generated import random_calculation, reasoning_gym
from orchestrator.bench.workloads.random_calculation import PRESETS, REASONING_GYM
from orchestrator.bench.workloads.steps import expression_in
from orchestrator.errors import UnknownName, UserError
from orchestrator.types import Task

MADE = [
    random_calculation(),
    random_calculation("direct"),
    reasoning_gym("chain_sum"),
    reasoning_gym("basic_arithmetic"),
    reasoning_gym("leg_counting"),
]


def asked(task: Task) -> str:
    """What the task is about, whatever its wording."""
    question = task.messages[-1].content
    return (expression_in(question) if "animals" not in question else None) or question


@pytest.mark.parametrize("workload", MADE, ids=lambda workload: workload.name)
def test_the_same_arguments_draw_the_same_tasks_and_another_seed_others(workload: Workload) -> None:
    tasks = workload.draw("report", 3, 8)
    assert len(tasks) == 8
    assert tasks == workload.draw("report", 3, 8)
    assert tasks[:5] == workload.draw("report", 3, 5)
    assert tasks != workload.draw("report", 4, 8)


@pytest.mark.parametrize("workload", MADE, ids=lambda workload: workload.name)
def test_splits_never_overlap_whatever_the_seed(workload: Workload) -> None:
    seen = {
        split: {asked(task) for seed in range(3) for task in workload.draw(split, seed, 12)}
        for split in workload.splits
    }
    assert workload.splits == ("train", "calibration", "report")
    assert all(seen.values())
    assert not any(seen[one] & seen[other] for one, other in combinations(seen, 2))


@pytest.mark.parametrize("workload", [random_calculation("products"), random_calculation("direct"), *MADE[2:4]])
def test_no_task_counts_twice(workload: Workload) -> None:
    tasks = workload.draw("report", 0, 60)
    assert len({asked(task) for task in tasks}) == len(tasks)
    assert len({task.id for task in tasks}) == len(tasks)
    assert len({fingerprint(task) for task in tasks}) == len(tasks)


def test_an_expression_is_drawn_again_in_other_wordings_where_that_is_asked_for() -> None:
    once, each = (random_calculation("minus_zero", wordings).draw("report", 0, 90) for wordings in (False, True))
    assert 0 < len(once) < 90 and len(each) == 90  # there are few numbers below 1,000 in a split
    assert {asked(task) for task in each} <= {asked(task) for task in once}
    assert len({task.id for task in each}) == len({fingerprint(task) for task in each}) == 90
    assert random_calculation("minus_zero", True).name != random_calculation("minus_zero").name


def test_only_zero_is_taken_away_where_the_dial_says_so() -> None:
    tasks = random_calculation("minus_zero").draw("report", 0, 30)
    assert all(asked(task) == f"{task.answer}-0" for task in tasks)
    assert {len(str(task.answer)) for task in tasks} >= {2, 3}


def test_an_expression_begins_with_the_literals_of_its_dial() -> None:
    tasks = random_calculation("times_zero").draw("report", 0, 90)
    numbers = [asked(task).removeprefix("0*0*") for task in tasks]
    assert all(number.isdecimal() and int(number) > 0 for number in numbers)
    assert {task.answer for task in tasks} == {"0"}
    assert {len(number) for number in numbers} >= {3, 4}


def test_a_family_with_few_tasks_gives_those_there_are() -> None:
    digits = reasoning_gym("products", min_terms=2, max_terms=2, min_digits=1, max_digits=1)
    assert 0 < len(digits.draw("report", 0, 20)) < 20


def test_a_task_that_two_seeds_draw_has_one_id() -> None:
    draw = random_calculation("products").draw
    one = {asked(task): task.id for task in draw("report", 0, 90)}
    other = {asked(task): task.id for task in draw("report", 1, 90)}
    both = one.keys() & other.keys()
    assert both
    assert all(one[question] == other[question] for question in both)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_scored_by_its_own_answers(preset: str) -> None:
    workload = random_calculation(preset)
    for task in workload.draw("calibration", 0, 5):
        assert workload.score(task, task.answer) == 1
        assert workload.score(task, f"{task.answer}1") == 0
        assert workload.score(task, None) == 0


@pytest.mark.parametrize("family", [*REASONING_GYM, "gcd", "letter_counting", "simple_equations"])
def test_a_family_of_reasoning_gym_is_scored_by_its_own_scorer(family: str) -> None:
    workload = reasoning_gym(family)
    for task in workload.draw("report", 0, 5):
        assert workload.score(task, task.answer) == 1
        assert workload.score(task, f"{task.answer}1") < 1
        assert workload.score(task, None) < 1


def test_only_arithmetic_families_check_steps() -> None:
    assert {family for family in [*REASONING_GYM, "gcd", "leg_counting"] if reasoning_gym(family).check} == set(
        REASONING_GYM
    )


def test_options_of_a_family_replace_the_configuration_of_the_pair() -> None:
    plain, longer = reasoning_gym("chain_sum"), reasoning_gym("chain_sum", min_terms=9, max_terms=9)
    assert plain.settings == {"workload": "reasoning-gym", "family": "chain_sum", **REASONING_GYM["chain_sum"]}
    assert longer.settings == {"workload": "reasoning-gym", "family": "chain_sum", "min_terms": 9, "max_terms": 9}
    assert longer.name == "reasoning-gym:family=chain_sum:max_terms=9:min_terms=9"
    assert all(asked(task).count("+") + asked(task).count("-") >= 8 for task in longer.draw("report", 0, 3))


@pytest.mark.parametrize(
    "family, options, error, said",
    [
        ("chain_sums", {}, UnknownName, r"no family 'chain_sums'; near: chain_sum.* in all"),
        ("zzz", {}, UnknownName, "no family 'zzz'; near: "),
        (7, {}, UnknownName, "no family '7'"),
        ("chain_sum", {"min_terms": 9, "max_terms": 2}, UserError, "reasoning-gym chain_sum: "),
        ("chain_sum", {"colour": 1}, UserError, "reasoning-gym chain_sum: .*colour"),
        ("composite", {}, UserError, "reasoning-gym composite: Must specify"),
    ],
)
def test_a_family_that_cannot_be_made_is_one_clear_error(
    family: str, options: dict[str, int], error: type[UserError], said: str
) -> None:
    with pytest.raises(error, match=said):
        reasoning_gym(family, **options)


def test_workloads_go_by_name() -> None:
    assert workload_of("random-calculation", {"preset": "easy"}).name == "random-calculation:preset=easy"
    with pytest.raises(UnknownName, match=f"no workload named 'gsm9k'; known: {', '.join(sorted(WORKLOADS))}"):
        workload_of("gsm9k", {})
    with pytest.raises(UserError, match=r"workload random-calculation: .*colour.*; its options: preset"):
        workload_of("random-calculation", {"colour": "red"})
    with pytest.raises(UserError, match=r"workload jsonl: .*path.*; its options: path, scorer"):
        workload_of("jsonl", {})
    with pytest.raises(UnknownName, match="no preset named 'midi'; known: direct, easy, mid"):
        workload_of("random-calculation", {"preset": "midi"})
