"""The exact check of single steps: every step of every generated solution is right, spoilt ones are not."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.bench.workloads import random_calculation as calc
from orchestrator.bench.workloads.generated import reasoning_gym
from orchestrator.bench.workloads.solution import reason
from orchestrator.bench.workloads.splits import SPLITS, split_of
from orchestrator.bench.workloads.steps import check_step, expression_in
from orchestrator.errors import SignalUnavailable
from orchestrator.types import Message

presets = st.sampled_from(sorted(calc.PRESETS))
seeds = st.integers(0, 10**9)
END = "\n\n"


def drawn(preset: str, seed: int) -> tuple[tuple[Message, ...], list[str], str]:
    """A task, the texts of its steps with re-checks, as an engine writes them, and its answer."""
    random = Random(seed)
    expression = calc.draw_expression(random, calc.PRESETS[preset])
    task = calc.make_calculation(expression, calc.draw_wording(random, expression))
    return (Message("user", task.prompt),), [step.text + END for step in reason(expression, random)], task.answer


@given(presets, seeds)
@settings(max_examples=300, deadline=None)
def test_every_step_of_every_solution_is_right_the_closing_one_too(preset: str, seed: int) -> None:
    messages, steps, answer = drawn(preset, seed)
    for place, step in enumerate(steps):
        assert check_step(messages, steps[:place], step) == 1
    closing = f"</think>\n\\boxed{{{answer}}}"
    assert check_step(messages, steps, closing) == 1
    assert check_step(messages, steps[:-1], f"{steps[-1].strip()}\n{closing}") == 1
    assert check_step(messages, steps, "</think>\n") == 1


@given(presets, seeds, st.integers(1, 9), st.data())
@settings(max_examples=200, deadline=None)
def test_a_spoilt_step_is_wrong(preset: str, seed: int, by: int, data: st.DataObject) -> None:
    messages, steps, answer = drawn(preset, seed)
    place = data.draw(st.integers(0, len(steps) - 1))
    step = steps[place].strip()
    spoilt = [f"{step}+{by}", f"1{step}" if step[0] != "-" else f"{by}{step}", step[:-1], f"Sure! {step}"]
    for text in spoilt:
        assert check_step(messages, steps[:place], text + END) == 0, text
    for wrong in (str(int(answer) + by), f"{answer}0{by}", ""):
        assert check_step(messages, steps, f"</think>\n\\boxed{{{wrong}}}") == 0


TASK = (Message("user", "Compute (12+47)*6 - 5."),)
SETUP, FIRST, WRONG = "(12+47)*6-5\n\n", "12+47=59\n59*6-5\n\n", "12+47=58\n58*6-5\n\n"


@pytest.mark.parametrize(
    "kept, draft, value",
    [
        ([], SETUP, 1),
        ([], "(12+47)*6-4\n\n", 0),
        ([], FIRST, 0),
        ([], "", 0),
        ([], "\n\n", 0),
        ([SETUP], FIRST, 1),
        ([SETUP], WRONG, 0),
        ([SETUP, WRONG], "58*6=348\n348-5\n\n", 1),
        ([SETUP, FIRST], SETUP, 0),
        ([SETUP, FIRST], "</think>\n\\boxed{349}", 1),
        ([SETUP, FIRST], "</think>\n\\boxed{349.0}", 0),
        ([SETUP, FIRST], "</think>\n\\boxed{698/2}", 1),
        ([SETUP, FIRST], "</think>\n\\boxed{350}", 0),
        ([SETUP, WRONG], "</think>\n\\boxed{343}", 1),
        ([SETUP, FIRST], "</think>\n", 0),
        ([], "</think>\n\\boxed{349}", 1),
        ([], "</think>\n\\boxed{348}", 0),
        ([SETUP, FIRST], "</think>\n\\boxed{350}</think>\n\\boxed{349}", 0),
        ([SETUP, FIRST], "</think>\n\\boxed{349}\n<think>\n", 0),
    ],
)
def test_a_step_is_judged_by_the_one_before_it(kept: list[str], draft: str, value: int) -> None:
    assert check_step(TASK, kept, draft) == value


@given(st.lists(st.text(max_size=30), max_size=3), st.text(max_size=60))
def test_any_draft_is_right_or_wrong(kept: list[str], draft: str) -> None:
    assert check_step(TASK, kept, draft) in (0, 1)


def test_a_task_without_an_expression_cannot_be_checked() -> None:
    with pytest.raises(SignalUnavailable, match="no expression"):
        check_step((Message("user", "Name a colour."),), [], "Red.\n\n")


@given(presets, seeds, st.sampled_from(sorted(calc.WORDINGS)))
@settings(max_examples=150, deadline=None)
def test_the_expression_of_a_prompt_is_the_one_that_was_asked(preset: str, seed: int, wording: str) -> None:
    task = calc.make_calculation(calc.draw_expression(Random(seed), calc.PRESETS[preset]), wording)
    assert expression_in(task.prompt) == task.expression


@pytest.mark.parametrize("family", calc.REASONING_GYM)
def test_the_expression_of_a_family_has_its_answer(family: str) -> None:
    for task in reasoning_gym(family).draw("calibration", 0, 20):
        assert expression_in(task.messages[-1].content) is not None
        assert check_step(task.messages, [], f"</think>\n\\boxed{{{task.answer}}}") == 1


@given(st.text(max_size=40))
def test_every_text_is_in_one_split_whatever_its_blanks(text: str) -> None:
    assert split_of(text) in SPLITS
    assert split_of(f" {text}\t") == split_of(text)


def test_the_splits_take_all_buckets_once() -> None:
    assert sorted(bucket for buckets in SPLITS.values() for bucket in buckets) == list(range(100))
