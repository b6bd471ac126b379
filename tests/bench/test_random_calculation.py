"""The generator's promises, checked by the independent evaluator."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.bench.workloads import random_calculation as calc
from orchestrator.bench.workloads.expression import Node, compact, read_expression, tokens_of
from orchestrator.bench.workloads.solution import REDUNDANCY, reason
from orchestrator.bench.workloads.splits import SPLITS, split_of
from orchestrator.bench.workloads.verify import evaluate, state_after, verify_thought

presets = st.sampled_from(sorted(calc.PRESETS))
seeds = st.integers(0, 10**9)


def draw(preset: str, seed: int) -> Node:
    return calc.draw_expression(Random(seed), calc.PRESETS[preset])


@given(presets, seeds)
@settings(max_examples=200, deadline=None)
def test_the_answer_key_agrees_with_the_independent_evaluator(preset: str, seed: int) -> None:
    expression = draw(preset, seed)
    task = calc.make_calculation(expression, "compute")
    assert evaluate(task.expression) == int(task.answer)


@given(presets, seeds)
@settings(max_examples=200, deadline=None)
def test_every_step_of_a_thought_is_right_and_of_its_kind(preset: str, seed: int) -> None:
    expression = draw(preset, seed)
    steps = reason(expression, Random(seed))
    verdicts = verify_thought([step.text for step in steps], compact(expression))
    assert [verdict.fault for verdict in verdicts] == [None] * len(steps)
    assert [verdict.kind for verdict in verdicts] == [step.kind for step in steps]
    assert [state_after(step.text) for step in steps] == [step.state for step in steps]


@given(presets, seeds)
@settings(max_examples=200, deadline=None)
def test_an_expression_stays_within_its_dials(preset: str, seed: int) -> None:
    dials = calc.PRESETS[preset]
    expression = draw(preset, seed)
    tokens = tokens_of(expression)
    operations = sum(token in ("+", "-", "*", "/") for token in tokens)
    text = compact(expression)
    depths = [text[:end].count("(") - text[:end].count(")") for end in range(len(text))]
    literals = [token.lstrip("-") for token in tokens if token.lstrip("-").isdigit()]
    assert dials.num_operations[0] <= operations <= dials.num_operations[1]
    assert max(depths, default=0) <= dials.max_depth
    assert max(map(len, literals)) <= dials.num_digits[1]


@given(presets, seeds, st.sampled_from(sorted(calc.WORDINGS)))
@settings(max_examples=100, deadline=None)
def test_a_prompt_read_back_is_the_same_task(preset: str, seed: int, wording: str) -> None:
    expression = draw(preset, seed)
    for spacing in ("single", "loose", "none"):
        text = calc.spaced(tokens_of(expression), spacing)
        assert compact(read_expression(text)) == compact(expression)
    assert split_of(text) == split_of(compact(expression))


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_the_same_arguments_give_the_same_tasks(seed: int) -> None:
    assert list(islice(calc.calculations("mid", "report", seed), 3)) == list(
        islice(calc.calculations("mid", "report", seed), 3)
    )


def test_no_expression_is_in_two_splits() -> None:
    found = {name: {t.expression for t in islice(calc.calculations("direct", name, 0), 400)} for name in SPLITS}
    assert not found["train"] & found["report"]
    assert not found["train"] & found["calibration"]
    assert not found["report"] & found["calibration"]


def mean_steps(**dials: object) -> float:
    dials = {"num_operations": (4, 4), "num_digits": (2, 2), "max_result_digits": 6, "factor_digits": 2, **dials}
    random = Random(0)
    drawn = [calc.draw_expression(random, calc.Dials(**dials)) for _ in range(300)]  # type: ignore[arg-type]
    return sum(len("".join(step.text for step in reason(node, rechecks=0))) for node in drawn) / 300


@pytest.mark.parametrize(
    "dial, values",
    [
        ("num_operations", [(1, 1), (3, 3), (6, 6), (12, 12)]),
        ("num_digits", [(1, 1), (2, 2), (3, 3)]),
        ("factor_digits", [1, 2]),
        ("max_result_digits", [3, 4, 6]),
    ],
)
def test_a_larger_dial_means_more_work(dial: str, values: list[object]) -> None:
    work = [mean_steps(**{dial: value}) for value in values]
    assert work == sorted(work)


def test_presets_get_harder_in_their_order() -> None:
    def work(preset: str) -> float:
        drawn = islice(calc.calculations(preset, "train", 0), 200)
        return sum(len(step.text) for task in drawn for step in task.steps) / 200

    order = [work(preset) for preset in ("direct", "easy", "mid", "hard", "long")]
    assert order == sorted(order)


def test_redundancy_follows_its_dial() -> None:
    random = Random(0)
    checked = {True: [], False: []}
    for task in islice(calc.calculations("mid", "train", 0), 600):
        steps = reason(read_expression(task.expression), random)
        checked[task.answer.startswith("-")].append(len(steps) > len(task.steps))
    for is_negative, dial in ((True, "negative"), (False, "other")):
        share = sum(checked[is_negative]) / len(checked[is_negative])
        assert abs(share - REDUNDANCY[dial]) < 0.1


@pytest.mark.parametrize("text", ["", "1+", "(1", "1)", "a", "1 2 + b", "--", "1//2"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_expression(text)


def test_unknown_names_are_refused_with_the_known() -> None:
    with pytest.raises(ValueError, match="easy"):
        next(calc.calculations("nope", "train", 0))
    with pytest.raises(ValueError, match="calibration"):
        next(calc.calculations("easy", "nope", 0))


@pytest.mark.parametrize("family", sorted(calc.REASONING_GYM))
def test_the_wordings_are_those_of_reasoning_gym(family: str) -> None:
    gym = pytest.importorskip("reasoning_gym")
    count = 0
    for item in gym.create_dataset(family, size=200, seed=5, **calc.REASONING_GYM[family]):
        expression = item["metadata"].get("expression") or item["question"].partition(": ")[2].partition(".")[0]
        try:
            task = calc.calculation_of(expression, family)
        except ValueError:  # a division that the family itself floors
            continue
        count += 1
        assert (task.prompt, task.answer) == (item["question"], item["answer"].strip())
    assert count > 180
